#!/bin/sh
# One replica on the port that is given, with a data directory of its own. Store and bus are those of the environment.
set -eu
exec antiphon serve --port "$1" --data "replica-$1" --behind-proxy --drain-s "${DRAIN_S:-20}"
