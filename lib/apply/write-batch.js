'use strict'

const { MultiHyperbeeError } = require('../errors.js')
const { nativeRange } = require('../range.js')

/** Writes of `apply` that its reads do not see before `flush`. What is left of them when `apply` returns is flushed. */
class WriteBatch {
  /**
   * @param {import('./turn.js').Turn} turn
   * @param {import('../codec.js').Codec} codec
   */
  constructor(turn, codec) {
    this._turn = turn
    this._codec = codec
    this._cleared = false
    /** By key, as latin1; null deletes. */
    this._writes = new Map()
    this._closed = false
    turn.open.add(this)
  }

  tryPut(key, value) {
    this._check()
    const { key: bytes, register } = this._codec.encodeWrite(this._codec.encodeKey(key), value)
    // What the caller, or an encoding of the caller's, holds may be filled anew.
    const theirs = register.buffer === value?.buffer || this._codec.valueEncoding.name === 'custom'
    const own = theirs ? Buffer.from(register) : register
    this._writes.set(bytes.latin1Slice(0, bytes.length), own)
  }

  tryDelete(key) {
    this._check()
    const bytes = this._codec.encodeKey(key)
    this._writes.set(bytes.latin1Slice(0, bytes.length), null)
  }

  /** Deletes all there is; in a sub, all of the sub. */
  tryClear() {
    this._check()
    this._writes.clear()
    this._cleared = true
  }

  /** As hyperbee2 has it: here nobody else writes. */
  async lock() {
    this._check()
  }

  /** From here on, reads see it. It can be used on. */
  flush() {
    this._check()
    this._flush()
    return Promise.resolve()
  }

  /** Drops what was not flushed. */
  async close() {
    this._end()
  }

  /** This batch's own view of a key: undefined if it says nothing. */
  own(bytes) {
    const own = this._writes.get(bytes.latin1Slice(0, bytes.length))
    return own === undefined && this._cleared ? null : own
  }

  /** Puts what it says over an overlay. */
  writeInto(overlay) {
    if (this._cleared) overlay.clear(nativeRange(this._codec, {}))
    for (const [key, value] of this._writes) overlay.set(key, value)
  }

  /** Called when `apply` has ended. */
  end(keep) {
    if (keep) this._flush()
    this._end()
  }

  _flush() {
    this.writeInto(this._turn.overlay)
    this._cleared = false
    this._writes.clear()
  }

  _end() {
    this._closed = true
    this._writes.clear()
    this._turn.open.delete(this)
  }

  _check() {
    this._turn.check()
    if (!this._closed) return
    throw new MultiHyperbeeError('ERR_CLOSED', 'this write batch was closed: begin another with view.write()')
  }
}

module.exports = { WriteBatch }
