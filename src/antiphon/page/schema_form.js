// Forms from JSON schemas: which fields a schema has, and what a filled-in field means. Pure.
//
// Known are texts, numbers, booleans, enums, dates, lists of enums, and objects of these, one level deep. Anything else
// is a field for JSON. Patterns are not checked here: a hostile one could block the tab. The server checks the whole.

const FIELDS_MAX = 40;
const CHOICES_MAX = 500;
const REFERENCES_MAX = 10;
const LINES_FROM_CHARS = 200;

const FORMATS = { date: 'date', 'date-time': 'datetime-local', time: 'time', email: 'email', uri: 'url' };

/**
 * The field of a schema: {kind, name, label, hint, isRequired, schema, choices?, fields?, initial}. `kind` is text,
 * lines, number, integer, boolean, choice, choices, date, datetime-local, time, email, url, object or json. `initial` is
 * what is filled in at first: a string, a boolean, a list of chosen indices, or an object of these by name.
 */
export function fieldOf(given, { name = '', isRequired = true, root = given, depth = 0 } = {}) {
  const schema = resolved(given, root);
  const field = {
    kind: kindOf(schema, root, depth),
    name,
    label: text(schema.title) || name,
    hint: text(schema.description),
    isRequired,
    schema,
  };
  if (field.kind === 'choice') field.choices = choicesOf(schema);
  if (field.kind === 'choices') field.choices = choicesOf(resolved(schema.items, root));
  if (field.kind === 'object') {
    field.fields = Object.entries(schema.properties).map(([key, each]) =>
      fieldOf(each, { name: key, isRequired: schema.required?.includes(key) ?? false, root, depth: depth + 1 }),
    );
  }
  return { ...field, initial: initialOf(field) };
}

const text = (value) => (typeof value === 'string' ? value.slice(0, 1000) : '');

/** The schema that a reference, or an alternative of one schema and null, stands for. */
function resolved(given, root) {
  let schema = given;
  for (let count = 0; count < REFERENCES_MAX; count++) {
    if (schema === null || typeof schema !== 'object') return {};
    const named = /^#\/(\$defs|definitions)\/([^/]+)$/.exec(schema.$ref ?? '');
    const others = (schema.anyOf ?? schema.oneOf)?.filter?.((each) => each?.type !== 'null');
    if (named) schema = { ...root?.[named[1]]?.[named[2]], ...without(schema, '$ref') };
    else if (others?.length === 1) schema = { ...without(schema, 'anyOf', 'oneOf'), ...others[0] };
    else if (schema.allOf?.length === 1) schema = { ...without(schema, 'allOf'), ...schema.allOf[0] };
    else return schema;
  }
  return schema;
}

const without = (schema, ...names) =>
  Object.fromEntries(Object.entries(schema).filter(([name]) => !names.includes(name)));

function kindOf(schema, root, depth) {
  const type = Array.isArray(schema.type) ? schema.type.find((each) => each !== 'null') : schema.type;
  if (choicesOf(schema).length) return 'choice';
  if (type === 'boolean' || type === 'integer' || type === 'number') return type;
  if (type === 'string' || (!type && depth === 0 && !schema.properties && !schema.anyOf && !schema.oneOf))
    return textKind(schema);
  if (type === 'array' && schema.items && choicesOf(resolved(schema.items, root)).length) return 'choices';
  const count = Object.keys(schema.properties ?? {}).length;
  if ((type === 'object' || !type) && count > 0 && count <= FIELDS_MAX && depth <= 1) return 'object';
  return 'json';
}

function textKind(schema) {
  if (FORMATS[schema.format]) return FORMATS[schema.format];
  const isLong = schema.format === 'multiline' || schema.format === 'textarea' || schema.maxLength > LINES_FROM_CHARS;
  return isLong ? 'lines' : 'text';
}

/** [[label, value]] of an enum, or of alternatives that are constants. */
export function choicesOf(schema) {
  if (Array.isArray(schema?.enum)) return schema.enum.slice(0, CHOICES_MAX).map((value) => [label(value), value]);
  const given = schema?.oneOf ?? schema?.anyOf;
  if (!Array.isArray(given) || !given.length || !given.every((each) => each && 'const' in each)) return [];
  return given.slice(0, CHOICES_MAX).map((each) => [text(each.title) || label(each.const), each.const]);
}

const label = (value) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));

function initialOf({ kind, schema, choices, fields }) {
  const given = schema.default;
  if (kind === 'object') return Object.fromEntries(fields.map((field) => [field.name, field.initial]));
  if (kind === 'boolean') return given === true;
  if (kind === 'choices') return choices.flatMap(([, value], index) => (given?.includes?.(value) ? [index] : []));
  if (kind === 'choice') return given === undefined ? '' : String(choices.findIndex(([, value]) => value === given));
  if (given === undefined || given === null) return '';
  return kind === 'json' ? JSON.stringify(given, null, 2) : String(given);
}

// --- what was filled in -----------------------------------------------------------------------------

/** {value} of a filled-in field (undefined: nothing was filled in), or {errors}: sentences by the path of the field. */
export function valueOf(field, filled, path = field.name) {
  if (field.kind === 'object') return objectOf(field, filled, path);
  const { value, error } = simpleValue(field, filled);
  return error ? { errors: { [path]: error } } : { value };
}

function objectOf(field, filled, path) {
  const value = {};
  const errors = {};
  for (const each of field.fields) {
    const part = valueOf(each, filled[each.name], path ? `${path}.${each.name}` : each.name);
    if (part.errors) Object.assign(errors, part.errors);
    else if (part.value !== undefined) value[each.name] = part.value;
  }
  if (Object.keys(errors).length && !(isBlank(filled) && !field.isRequired)) return { errors };
  return { value: isBlank(filled) && !field.isRequired ? undefined : value };
}

const isBlank = (filled) =>
  Object.values(filled).every(
    (each) => each === '' || each === false || each?.length === 0 || (typeof each === 'object' && isBlank(each)),
  );

function simpleValue(field, filled) {
  const { kind, schema, choices, isRequired } = field;
  if (kind === 'boolean') return { value: filled };
  if (kind === 'choices')
    return listOf(
      schema,
      filled.map((index) => choices[index][1]),
      isRequired,
    );
  if (filled.trim?.() === '') return isRequired ? { error: 'Please fill this in.' } : {};
  switch (kind) {
    case 'choice':
      return { value: choices[Number(filled)]?.[1] };
    case 'integer':
    case 'number':
      return numberOf(schema, filled, kind === 'integer');
    case 'json':
      return jsonOf(filled);
    case 'datetime-local':
      return { value: new Date(filled).toISOString() };
    default:
      return textOf(schema, filled);
  }
}

function listOf({ minItems = 0, maxItems = Infinity }, value, isRequired) {
  if (!value.length && !isRequired) return {};
  if (value.length < minItems) return { error: `Choose at least ${minItems}.` };
  return value.length > maxItems ? { error: `Choose at most ${maxItems}.` } : { value };
}

function numberOf(schema, filled, isInteger) {
  const value = Number(filled.trim().replace(',', '.'));
  if (!Number.isFinite(value)) return { error: 'This is not a number.' };
  if (isInteger && !Number.isInteger(value)) return { error: 'This is not a whole number.' };
  if (value < schema.minimum) return { error: `At least ${schema.minimum}, please.` };
  if (value > schema.maximum) return { error: `At most ${schema.maximum}, please.` };
  if (value <= schema.exclusiveMinimum) return { error: `More than ${schema.exclusiveMinimum}, please.` };
  return value >= schema.exclusiveMaximum ? { error: `Less than ${schema.exclusiveMaximum}, please.` } : { value };
}

function textOf({ minLength = 0, maxLength = Infinity }, value) {
  const length = [...value].length;
  if (length < minLength) return { error: `At least ${minLength} characters, please.` };
  return length > maxLength ? { error: `At most ${maxLength} characters, please.` } : { value };
}

function jsonOf(filled) {
  try {
    return { value: JSON.parse(filled) };
  } catch (error) {
    return { error: `This is not JSON: ${error.message}.` };
  }
}
