'use strict'

/** Every code an error of this package can carry. Codes are stable; messages are not. */
const CODES = new Set([
  'ERR_CLOSED',
  'ERR_NOT_READY',
  'ERR_MODE',
  'ERR_OPTIONS',
  'ERR_NOT_WRITABLE',
  'ERR_NOT_PERMITTED',
  'ERR_INVALID_KEY',
  'ERR_INVALID_VALUE',
  'ERR_KEY_TOO_LARGE',
  'ERR_VALUE_TOO_LARGE',
  'ERR_BATCH_TOO_LARGE',
  'ERR_ENCRYPTION_KEY',
  'ERR_STORE_OPEN',
  'ERR_STORE_LOCKED',
  'ERR_READ_ONLY',
  'ERR_CORRUPT',
  'ERR_FORMAT_VERSION',
  'ERR_DISK_FULL',
  'ERR_VERSION_GONE',
  'ERR_FORKED',
  'ERR_RESTORED',
  'ERR_RELAY',
  'ERR_APPLY',
  'ERR_MERGE',
  'ERR_AUTH',
  'ERR_PROTOCOL',
  'ERR_VERSION_MISMATCH',
  'ERR_CLIENT_MISMATCH',
  'ERR_TIMEOUT',
  'ERR_ABORTED',
  'ERR_UNSUPPORTED_PLATFORM'
])

const PREFIX = /^(ERR_[A-Z_]+): /

/** What the properties of a mismatch end with. */
const MISMATCHES = { ERR_VERSION_MISMATCH: 'Version', ERR_CLIENT_MISMATCH: 'Client' }

/** The one class of error this package throws and rejects with. */
class MultiHyperbeeError extends Error {
  /**
   * @param {string} code one of {@link CODES}
   * @param {string} message what was wrong, with which key or path, and what to do
   * @param {{ cause?: unknown }} [options]
   */
  constructor(code, message, options) {
    if (!CODES.has(code)) throw new TypeError(`unknown error code ${code}`)
    super(message, options)
    this.code = code
  }

  /**
   * What the native core threw, as this package's error: by its `code`, or by a message that begins with one. Anything
   * else (a programming error, an error a user's own callback threw) is returned untouched.
   *
   * @template E
   * @param {E} error
   * @returns {E | MultiHyperbeeError}
   */
  static from(error) {
    if (error instanceof MultiHyperbeeError || !(error instanceof Error)) return error
    const [prefix, named] = PREFIX.exec(error.message) ?? ['', undefined]
    const code = CODES.has(error.code) ? error.code : named
    if (!CODES.has(code)) return error
    const text = code === named ? error.message.slice(prefix.length) : error.message
    const { message, fields } = code === named ? split(code, text) : { message: text, fields: {} }
    const ours = new MultiHyperbeeError(code, message, { cause: error.cause ?? error })
    return Object.assign(ours, fields)
  }
}

/** What the core says of a mismatch: the message, then a line of JSON with what either side is. */
function split(code, text) {
  const end = text.lastIndexOf('\n')
  const what = MISMATCHES[code]
  if (what === undefined || end === -1) return { message: text, fields: {} }
  const { us, them } = JSON.parse(text.slice(end + 1))
  return { message: text.slice(0, end), fields: { [`us${what}`]: us, [`them${what}`]: them } }
}

// On the prototype, so that it is neither an own property of every error nor printed twice.
Object.defineProperty(MultiHyperbeeError.prototype, 'name', { value: 'MultiHyperbeeError' })

/**
 * Runs a native call and turns what it throws into this package's error.
 *
 * @template T
 * @param {() => T} call
 * @returns {T}
 */
function translated(call) {
  try {
    return call()
  } catch (error) {
    throw MultiHyperbeeError.from(error)
  }
}

module.exports = { MultiHyperbeeError, CODES, translated }
