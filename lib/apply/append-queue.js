'use strict'

const { MultiHyperbeeError } = require('../errors.js')
const { MAX_VALUE_BYTES } = require('../codec.js')

/** As the core has it (src/codec/limits.rs). */
const MAX_BATCH_ENTRIES = 1 << 16
/** What one crossing may weigh, unless a single append is larger, and how many appends it carries. */
const MAX_STAGED_BYTES = 8 << 20
const MAX_STAGED = 4096

/** Appends in the order of their calls: waiting, staged (with the core, not on disk), on disk but not applied. */
class AppendQueue {
  /** @param {{ encode: (value: any) => Buffer, name: string }} valueEncoding */
  constructor(valueEncoding) {
    this._valueEncoding = valueEncoding
    this._waiting = []
    this._staged = []
    this._written = []
  }

  get waiting() {
    return this._waiting.length > 0
  }

  /** Whether there is anything that is not on disk. */
  get unwritten() {
    return this._waiting.length > 0 || this._staged.length > 0
  }

  /** @returns {Promise<number>} the length of the local feed after it */
  add(values, optimistic) {
    const encoded = values.map((value) => this._encode(value))
    if (encoded.length > MAX_BATCH_ENTRIES) {
      const what = `an append of several values is one batch, of at most ${MAX_BATCH_ENTRIES}: append parts of it`
      throw new MultiHyperbeeError('ERR_BATCH_TOO_LARGE', what)
    }
    const bytes = encoded.reduce((sum, value) => sum + value.length, 0)
    return new Promise((resolve, reject) => {
      this._waiting.push({ values: encoded, bytes, optimistic, alone: false, length: 0, resolve, reject })
    })
  }

  /** The next to be staged together. @returns {{ values: Buffer[], optimistic: boolean }[]} */
  stage() {
    let [end, bytes] = [0, 0]
    while (end < this._waiting.length && end < MAX_STAGED && (end === 0 || bytes < MAX_STAGED_BYTES)) {
      if (end > 0 && (this._waiting[end].alone || this._waiting[0].alone)) break
      bytes += this._waiting[end++].bytes
    }
    this._staged = this._waiting.splice(0, end)
    return this._staged
  }

  /** They were refused, and nothing of them is written. One alone is rejected; of several, each is tried alone. */
  refused(error) {
    const staged = this._staged.splice(0)
    if (staged.length === 1) {
      staged[0].reject(error)
      return
    }
    for (const append of staged) append.alone = true
    this._waiting.unshift(...staged)
  }

  /** What is staged is lost, and so is what waits if `all`. */
  fail(error, all) {
    for (const append of this._staged.splice(0)) append.reject(error)
    if (all) for (const append of this._waiting.splice(0)) append.reject(error)
  }

  /** The values of the nth staged batch, as a piece has them: the last of its entries. */
  valuesOf(n, { entries }) {
    const { values } = this._staged[n]
    return values.map((bytes, i) => ({ offset: entries - values.length + i, bytes }))
  }

  /** The first staged are on disk: the local feed had these lengths after them. */
  written(lengths) {
    for (const length of lengths) {
      const append = this._staged.shift()
      append.length = length
      this._written.push(append)
    }
  }

  /** Resolves those on disk that are applied; each is after those before it. */
  settle(isApplied) {
    if (this._written.length === 0) return
    let end = isApplied(this._written.at(-1).length) ? this._written.length : 0
    while (end < this._written.length && isApplied(this._written[end].length)) end++
    for (const append of this._written.splice(0, end)) append.resolve(append.length)
  }

  _encode(value) {
    const bytes = this._valueEncoding.encode(value)
    if (bytes.length > MAX_VALUE_BYTES) {
      const what = `a value has at most ${MAX_VALUE_BYTES} bytes; this has ${bytes.length}: split it`
      throw new MultiHyperbeeError('ERR_VALUE_TOO_LARGE', what)
    }
    // What the caller, or an encoding of the caller's, holds may be filled anew before it is written.
    const theirs = bytes.buffer === value?.buffer || this._valueEncoding.name === 'custom'
    return theirs ? Buffer.from(bytes) : bytes
  }
}

module.exports = { AppendQueue }
