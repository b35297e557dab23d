'use strict'

const { MultiHyperbeeError } = require('./errors.js')

// The other side of src/bindings/packed.rs, where the formats are written down.

const INITIAL_BYTES = 4096
const TWO_32 = 0x100000000
const FLAG_REGISTER = 1
const FLAG_PUT = 2
const FLAG_VALUE = 4
const FLAG_PREV = 8

/** What a write may demand of the key it writes. */
const ANY = { kind: 0, seq: 0 }
const ABSENT = { kind: 2, seq: 0 }
const exactly = (seq) => ({ kind: 1, seq })

/** Packs the writes of one tick into one buffer. */
class WritePacker {
  constructor() {
    this.count = 0
    this._buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES)
    this._end = 4
  }

  get byteLength() {
    return this._end
  }

  /** @param {string} text JSON; `base` and `diff` may be empty */
  put(key, text, base, diff, expect) {
    this._head(1, key, expect)
    this._text(text)
    this._text(base)
    this._text(diff)
  }

  register(key, bytes, expect) {
    this._head(2, key, expect)
    this._bytes(bytes)
  }

  delete(key, expect) {
    this._head(3, key, expect)
  }

  /** The next `count` writes, added by `add`, are one. */
  batch(count, add) {
    this._reserve(5)
    this._buffer[this._end++] = 4
    this._u32(count)
    const before = this.count
    add(this)
    this.count = before + 1
  }

  take() {
    this._buffer.writeUInt32LE(this.count, 0)
    const packed = this._buffer.subarray(0, this._end)
    // The buffer is the core's to read only during the call, so the next tick may write over it.
    this.count = 0
    this._end = 4
    return packed
  }

  _head(op, key, expect) {
    this.count++
    this._reserve(10)
    this._buffer[this._end++] = op
    this._buffer[this._end++] = expect.kind
    if (expect.kind === 1) {
      this._buffer.writeUInt32LE(expect.seq % TWO_32, this._end)
      this._buffer.writeUInt32LE(Math.floor(expect.seq / TWO_32), this._end + 4)
      this._end += 8
    }
    this._bytes(key)
  }

  _bytes(bytes) {
    this._reserve(4 + bytes.length)
    this._u32(bytes.length)
    this._buffer.set(bytes, this._end)
    this._end += bytes.length
  }

  _text(text) {
    // No UTF-16 unit takes more than three bytes.
    this._reserve(4 + text.length * 3)
    const length = text.length === 0 ? 0 : this._buffer.write(text, this._end + 4)
    this._u32(length)
    this._end += length
  }

  _u32(value) {
    this._buffer.writeUInt32LE(value, this._end)
    this._end += 4
  }

  _reserve(bytes) {
    if (this._end + bytes <= this._buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this._buffer.length * 2, this._end + bytes))
    this._buffer.copy(larger, 0, 0, this._end)
    this._buffer = larger
  }
}

/**
 * @param {Buffer} packed
 * @returns {({ kind: 'no' | 'conflict' } | { kind: 'yes', length: number, version: number } | { kind: 'error', error: Error })[]}
 */
function decodeResults(packed) {
  const results = new Array(packed.readUInt32LE(0))
  let at = 4
  const text = () => {
    const end = at + 4 + packed.readUInt32LE(at)
    const string = packed.toString('utf8', at + 4, end)
    at = end
    return string
  }
  for (let i = 0; i < results.length; i++) {
    const tag = packed[at++]
    if (tag === 0) results[i] = { kind: 'no' }
    else if (tag === 1) results[i] = { kind: 'conflict' }
    else if (tag === 2) {
      results[i] = { kind: 'yes', length: readU64(packed, at), version: readU64(packed, at + 8) }
      at += 16
    } else {
      const code = text()
      results[i] = { kind: 'error', error: new MultiHyperbeeError(code, text()) }
    }
  }
  return results
}

/**
 * Calls `each(flags, seq, key, keyEnd, valueEnd)` for every packed entry: the key lies at `key..keyEnd`, the value
 * behind it up to `valueEnd`.
 */
function forEachEntry(packed, each) {
  const count = packed.readUInt32LE(0)
  let at = 4
  for (let i = 0; i < count; i++) {
    const keyLength = packed.readUInt32LE(at + 9)
    const key = at + 17
    const valueEnd = key + keyLength + packed.readUInt32LE(at + 13)
    each(packed[at + 8], readU64(packed, at), key, key + keyLength, valueEnd)
    at = valueEnd
  }
}

function readU64(buffer, at) {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * TWO_32
}

module.exports = {
  WritePacker,
  decodeResults,
  forEachEntry,
  readU64,
  ANY,
  ABSENT,
  exactly,
  FLAG_REGISTER,
  FLAG_PUT,
  FLAG_VALUE,
  FLAG_PREV
}
