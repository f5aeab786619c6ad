// Services that run models, as the settings offer them.

/** Services that a person may choose: {id, label, kind, name, base_url, needsKey, keyHint, models}. `models` are offered
 *  as suggestions where the service is not asked for its own. */
export const SERVICES = [
  {
    id: 'openai',
    label: 'OpenAI',
    kind: 'openai-responses',
    name: 'openai',
    base_url: '',
    needsKey: true,
    keyHint: 'It begins with sk-.',
  },
  {
    id: 'anthropic',
    label: 'Anthropic',
    kind: 'anthropic',
    name: 'anthropic',
    base_url: '',
    needsKey: true,
    keyHint: 'It begins with sk-ant-.',
  },
  {
    id: 'openrouter',
    label: 'OpenRouter',
    kind: 'openai',
    name: 'openrouter',
    base_url: 'https://openrouter.ai/api/v1',
    needsKey: true,
    keyHint: 'It begins with sk-or-.',
  },
  {
    id: 'ollama',
    label: 'Ollama, on the server’s machine',
    kind: 'openai',
    name: 'ollama',
    base_url: 'http://127.0.0.1:11434/v1',
    needsKey: false,
    keyHint: '',
  },
  {
    id: 'other',
    label: 'Another service with OpenAI’s API',
    kind: 'openai',
    name: '',
    base_url: '',
    needsKey: false,
    keyHint: '',
  },
];
