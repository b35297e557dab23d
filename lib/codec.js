'use strict'

const { isUtf8 } = require('node:buffer')
const { MultiHyperbeeError } = require('./errors.js')
const { resolveEncoding, encodeObject, isPlainObject } = require('./encodings.js')
const { FLAG_REGISTER, FLAG_PREV } = require('./packed.js')

// src/codec/limits.rs says why.
const MAX_KEY_BYTES = 1900
const MAX_VALUE_BYTES = 16 << 20

const FORM_OBJECT = 0
const FORM_OBJECT_HEX = 1
const FORM_PLAIN = 2
const FORM_STAMPED = 3
/** No values: where only keys are asked for. */
const FORM_KEYS = 4

/** Lengths of `_prevTimestamp`, and of `_timestamp`, which names a state too. */
const STAMP_LENGTH = 63
const STAMP_AND_STATE_LENGTH = STAMP_LENGTH + 17

const RESERVED = ['_objectId', '_timestamp', '_prevTimestamp', '_diff']
const TEXT_ENCODINGS = new Set(['utf-8', 'ascii', 'json'])
const NO_PREFIX = Buffer.alloc(0)
const STAMP_AND_STATE = /^\d{4,6}-\d\d-\d\dT[\d:.]+Z-[0-9a-f]{8}-[0-9a-f]{12}-[0-9a-f]{16}-[0-9a-f]{16}$/

/** An object whose stamps lie behind its text. */
function stamped(flags, buffer, from, to, id) {
  const prev = (flags & FLAG_PREV) === 0 ? to : to - STAMP_LENGTH
  const stamp = prev - STAMP_AND_STATE_LENGTH
  const object = JSON.parse(buffer.utf8Slice(from, stamp))
  object._objectId = id
  object._timestamp = buffer.latin1Slice(stamp, prev)
  if (prev !== to) object._prevTimestamp = buffer.latin1Slice(prev, to)
  return object
}

/** How one handle reads and writes: its encodings, and the prefix of its sub. */
class Codec {
  constructor(keyEncoding, valueEncoding, prefix = NO_PREFIX) {
    this.keyEncoding = keyEncoding
    this.valueEncoding = valueEncoding
    this.prefix = prefix
    /** Whether values are merged objects; else each is replaced as a whole. */
    this.objects = this._merges(valueEncoding)
    this.textIds = TEXT_ENCODINGS.has(keyEncoding.name)
    /** Whether keys are text as they stand: no Buffer is needed to read or write one. */
    this.plainText = keyEncoding.name === 'utf-8' && prefix.length === 0
    this.form = !this.objects
      ? FORM_PLAIN
      : this.plainText
        ? FORM_STAMPED
        : this.textIds
          ? FORM_OBJECT
          : FORM_OBJECT_HEX
  }

  _merges(valueEncoding) {
    return valueEncoding.name === 'json'
  }

  /** This codec, but for what one call's options say. */
  with(options) {
    if (options == null || (options.keyEncoding == null && options.valueEncoding == null)) return this
    const { keyEncoding, valueEncoding } = options
    return new this.constructor(
      keyEncoding == null ? this.keyEncoding : resolveEncoding(keyEncoding, 'keyEncoding'),
      valueEncoding == null ? this.valueEncoding : resolveEncoding(valueEncoding, 'valueEncoding'),
      this.prefix
    )
  }

  encodeKey(key) {
    let bytes = this.keyEncoding.encode(key)
    if (this.prefix.length > 0) bytes = Buffer.concat([this.prefix, bytes])
    if (bytes.length <= MAX_KEY_BYTES) return bytes
    const what = `a key has at most ${MAX_KEY_BYTES} bytes, sub prefix included`
    throw new MultiHyperbeeError('ERR_KEY_TOO_LARGE', `${what}; this has ${bytes.length}: use a shorter one`)
  }

  /** Encodes into a buffer that has room for the longest key, where it can without making another; returns the length. */
  writeKey(key, into) {
    if (this.plainText && typeof key === 'string' && key.length <= MAX_KEY_BYTES / 3 && key.isWellFormed()) {
      return into.utf8Write(key, 0)
    }
    const bytes = this.encodeKey(key)
    into.set(bytes, 0)
    return bytes.length
  }

  /** What `_objectId` says of the key a caller gave. */
  idOf(key) {
    return !this.plainText || typeof key === 'string' ? key : this.keyEncoding.decode(this.encodeKey(key))
  }

  /** What `_objectId` says of the key `text` that lies at `from..to`: itself, unless the bytes are no text. */
  idAt(text, buffer, from, to) {
    const doubtful = this.plainText && text.includes('\ufffd')
    return doubtful && !isUtf8(buffer.subarray(from, to)) ? buffer.hexSlice(from, to) : text
  }

  /** The key that lies at `from..to`. */
  decodeKey(buffer, from, to) {
    if (this.plainText) return buffer.utf8Slice(from, to)
    return this.keyEncoding.decode(buffer.subarray(from + this.prefix.length, to))
  }

  /**
   * The value that lies at `from..to`.
   *
   * @param {number} flags of the packed entry
   * @param {string} id the key, where keys are plain text
   */
  decodeValue(flags, buffer, from, to, id) {
    if (this.objects && (flags & FLAG_REGISTER) === 0) {
      if (this.form === FORM_STAMPED) return stamped(flags, buffer, from, to, id)
      return JSON.parse(buffer.utf8Slice(from, to))
    }
    const bytes = buffer.subarray(from, to)
    if (!this.objects) return this.valueEncoding.decode(bytes)
    try {
      return this.valueEncoding.decode(bytes)
    } catch (cause) {
      const what = 'this key holds a value that was written with another valueEncoding: pass that one'
      throw new MultiHyperbeeError('ERR_INVALID_VALUE', what, { cause })
    }
  }

  /**
   * What is written for `value` under the encoded `key`. Never changes `value`.
   *
   * @returns {{ key: Buffer, register: Buffer | null, text: string, base: string, diff: string }}
   */
  encodeWrite(key, value) {
    if (!this.objects) {
      const register = this.valueEncoding.encode(value)
      checkSize(register.length)
      return { key, register, text: '', base: '', diff: '' }
    }
    const object = isPlainObject(value) ? stripped(value) : value
    const text = encodeObject(object)
    checkSize(text.length > MAX_VALUE_BYTES / 3 ? Buffer.byteLength(text) : text.length)
    if (object === value) return { key, register: null, text, base: '', diff: '' }
    return { key, register: null, text, base: this._base(key, value), diff: diffText(value._diff) }
  }

  /** The state `value` was read at, if it was read under this key. */
  _base(key, value) {
    const { _timestamp: base, _objectId: id } = value
    if (typeof base !== 'string' || typeof id !== 'string' || !STAMP_AND_STATE.test(base)) return ''
    return id === key.toString(this.textIds ? 'utf8' : 'hex') ? base : ''
  }
}

/** Where nothing is merged: in apply mode JSON is an encoding like any other. */
class PlainCodec extends Codec {
  _merges() {
    return false
  }
}

/** The value without what only a read adds; itself if there is none of it. */
function stripped(value) {
  if (!RESERVED.some((name) => Object.hasOwn(value, name))) return value
  // Spreading defines properties, so one named __proto__ stays one.
  const rest = { ...value }
  for (const name of RESERVED) delete rest[name]
  return rest
}

/** The caller's own diff: only its list is the caller's to say. */
function diffText(diff) {
  if (diff == null) return ''
  const list = isPlainObject(diff) ? (diff.list ?? {}) : null
  if (isPlainObject(list)) return encodeObject(list)
  throw new MultiHyperbeeError('ERR_INVALID_VALUE', '_diff must be an object { list }, as getDiff shows them')
}

function checkSize(bytes) {
  if (bytes <= MAX_VALUE_BYTES) return
  const what = `a value has at most ${MAX_VALUE_BYTES} bytes encoded; this has ${bytes}: split it`
  throw new MultiHyperbeeError('ERR_VALUE_TOO_LARGE', what)
}

module.exports = {
  Codec,
  PlainCodec,
  stripped,
  diffText,
  FORM_OBJECT,
  FORM_KEYS,
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES
}
