'use strict'

const { MultiHyperbeeError } = require('./errors.js')

/**
 * How keys or values become bytes and come back.
 *
 * @typedef {object} Encoding
 * @property {string} name `'custom'` for one the user supplied; the genesis of a database records it
 * @property {(value: any) => Buffer} encode throws `ERR_INVALID_VALUE` for what it cannot say
 * @property {(bytes: Buffer) => any} decode
 */

/** @type {Encoding} */
const binary = {
  name: 'binary',
  encode(value) {
    if (typeof value === 'string') return utf8.encode(value)
    if (!(value instanceof Uint8Array)) throw unencodable('binary', 'a Buffer or a string', value)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  },
  decode: (bytes) => bytes
}

/** @type {Encoding} */
const utf8 = {
  name: 'utf-8',
  encode(value) {
    if (value instanceof Uint8Array) return binary.encode(value)
    if (typeof value !== 'string') throw unencodable('utf-8', 'a string', value)
    // Each lone surrogate would become the same replacement character: two keys would be one.
    if (!value.isWellFormed()) throw invalid('a string with half a surrogate pair cannot be encoded as utf-8')
    return Buffer.from(value, 'utf8')
  },
  decode: (bytes) => bytes.toString('utf8')
}

/** @type {Encoding} */
const ascii = {
  name: 'ascii',
  encode(value) {
    if (value instanceof Uint8Array) return binary.encode(value)
    if (typeof value !== 'string') throw unencodable('ascii', 'a string', value)
    const bytes = Buffer.from(value, 'utf8')
    if (bytes.length !== value.length) throw invalid("the text is not ascii: use 'utf-8'")
    return bytes
  },
  decode: (bytes) => bytes.toString('latin1')
}

/** @type {Encoding} */
const json = {
  name: 'json',
  encode(value) {
    const text = stringify(value)
    if (text === undefined) throw unencodable('json', 'something JSON can say', value)
    return Buffer.from(text, 'utf8')
  },
  decode: (bytes) => JSON.parse(bytes.toString('utf8'))
}

const NAMED = new Map([
  ['binary', binary],
  ['buffer', binary],
  ['utf-8', utf8],
  ['utf8', utf8],
  ['ascii', ascii],
  ['json', json]
])

/**
 * The encoding an option names or is.
 *
 * @param {string | object} encoding a name; `{ encode(value), decode(bytes) }`; or a compact-encoding codec,
 *   `{ preencode(state, value), encode(state, value), decode(state) }`
 * @param {string} option which option it was, for the message
 * @returns {Encoding}
 * @throws {MultiHyperbeeError} `ERR_OPTIONS`
 */
function resolveEncoding(encoding, option) {
  const named = NAMED.get(encoding)
  if (named !== undefined) return named
  const has = (method) => typeof encoding?.[method] === 'function'
  if (has('encode') && has('decode')) return has('preencode') ? fromCompact(encoding) : fromPlain(encoding)
  throw new MultiHyperbeeError(
    'ERR_OPTIONS',
    `${option} must be 'binary', 'utf-8', 'ascii', 'json' or an object with encode and decode`
  )
}

function fromPlain(codec) {
  return {
    name: 'custom',
    encode(value) {
      const bytes = guarded(() => codec.encode(value))
      if (bytes instanceof Uint8Array) return binary.encode(bytes)
      throw unencodable('the custom encoding', 'bytes from its encode', bytes)
    },
    decode: (bytes) => codec.decode(bytes)
  }
}

function fromCompact(codec) {
  return {
    name: 'custom',
    encode(value) {
      const state = { start: 0, end: 0, buffer: null }
      return guarded(() => {
        codec.preencode(state, value)
        state.buffer = Buffer.alloc(state.end)
        codec.encode(state, value)
        return state.buffer
      })
    },
    decode: (bytes) => codec.decode({ start: 0, end: bytes.length, buffer: bytes })
  }
}

/**
 * A merge-mode value as the JSON text that is diffed. What JSON drops (functions, undefined) is dropped as JSON does.
 *
 * @param {unknown} value
 * @returns {string}
 * @throws {MultiHyperbeeError} `ERR_INVALID_VALUE`
 */
function encodeObject(value) {
  // As multi-hyperbee has it: 0, '' and false are no objects either, but get this message.
  if (!value) throw invalid('multi-hyperbee: value parameter is required')
  if (!isPlainObject(value)) throw invalid('multi-hyperbee: value expected to be JSON object')
  const text = stringify(value)
  // A toJSON may answer with anything.
  if (!text?.startsWith('{')) throw invalid('multi-hyperbee: value expected to be JSON object')
  // JSON.stringify escapes a lone surrogate and nothing else that begins with d8 to df.
  if (/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(text)) {
    throw invalid('a value with half a surrogate pair in one of its strings cannot be stored')
  }
  return text
}

/** What an object literal or JSON.parse makes, of any realm: neither an array nor an instance of a class. */
function isPlainObject(value) {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return (
    prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'toString'))
  )
}

function stringify(value) {
  return guarded(() => JSON.stringify(value))
}

/** Runs what may throw on a value of the user's. */
function guarded(encode) {
  try {
    return encode()
  } catch (cause) {
    if (cause instanceof MultiHyperbeeError) throw cause
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new MultiHyperbeeError('ERR_INVALID_VALUE', `the value cannot be encoded: ${reason}`, { cause })
  }
}

function unencodable(encoding, expected, value) {
  const kind = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
  return invalid(`${encoding} takes ${expected}; this is ${kind}`)
}

function invalid(message) {
  return new MultiHyperbeeError('ERR_INVALID_VALUE', message)
}

module.exports = { resolveEncoding, encodeObject, isPlainObject }
