'use strict'

const { MultiHyperbeeError } = require('../errors.js')
const { forEachEntry } = require('../packed.js')
const { readEntry } = require('../reader.js')
const { resolveEncoding } = require('../encodings.js')
const { PlainCodec } = require('../codec.js')
const { SortedKeys, lowerBound, upperBound } = require('./sorted-keys.js')

/** Bytes as they are. */
const RAW = new PlainCodec(resolveEncoding('binary'), resolveEncoding('binary'))
const CHUNK_ENTRIES = 256
const CHUNK_BYTES = 64 * 1024

/**
 * What `apply` has written and is not committed yet, over the store at one version. Keys are kept as latin1 texts of
 * their bytes; a value of null is a delete. What one batch writes can be taken back.
 */
class Overlay {
  /**
   * @param {object} native the open database
   * @param {number} version what it lies over
   */
  constructor(native, version) {
    /** Why a read of the store failed: then what `apply` did says nothing about its batch. */
    this.fault = null
    this._native = native
    this._version = version
    this._writes = new Map()
    this._keys = new SortedKeys()
    /** What the present batch wrote, and what stood there before; undefined: nothing. */
    this._before = new Map()
  }

  /** From here on it is the next batch that writes. */
  begin() {
    this._before = new Map()
  }

  /** Takes back what the present batch wrote. */
  rollback() {
    for (const [key, value] of this._before) {
      if (value === undefined) this._writes.delete(key)
      else this._writes.set(key, value)
    }
    if (this._before.size > 0) this._keys.reset(this._writes.keys())
    this.begin()
  }

  /** How many keys the present batch has written. */
  get size() {
    return this._before.size
  }

  /** What the present batch has written, each key once. */
  *written() {
    for (const key of this._before.keys()) yield [key, this._writes.get(key)]
  }

  /** The same, without what only says again what was there before the batch. */
  *changed() {
    for (const [key, value] of this.written()) {
      const before = this._before.get(key)
      if (!same(value, before === undefined ? this._stored(Buffer.from(key, 'latin1')) : before)) {
        yield [key, value]
      }
    }
  }

  set(key, value) {
    const before = this._writes.get(key)
    if (!this._before.has(key)) this._before.set(key, before)
    if (before === undefined) this._keys.add(key)
    this._writes.set(key, value)
  }

  /** @returns {Buffer | null} the value's bytes, the caller's own */
  read(bytes) {
    const own = this._writes.size === 0 ? undefined : this._writes.get(bytes.latin1Slice(0, bytes.length))
    if (own === undefined) return this._stored(bytes)
    return own === null ? null : Buffer.from(own)
  }

  /** All of a range are deleted. */
  clear(range) {
    for (const [key] of this.entries(range)) this.set(key.latin1Slice(0, key.length), null)
  }

  /** This, as it is now: what is written here from now on does not show in it. */
  frozen() {
    const copy = new Overlay(this._native, this._version)
    copy._writes = new Map(this._writes)
    copy._keys.reset(this._writes.keys())
    return copy
  }

  /**
   * The live entries of a range, in order: `[key, value]`, both bytes. As it is now, whatever is written meanwhile.
   *
   * @param {{ gt?: Buffer, gte?: Buffer, lt?: Buffer, lte?: Buffer, reverse?: boolean }} range
   * @returns {Generator<[Buffer, Buffer]>}
   */
  entries(range) {
    const own = this._own(range)
    if (range.reverse) own.reverse()
    const cursor = this._open(range)
    return this._merged(cursor, own, range.reverse ? -1 : 1)
  }

  /** What is written here of a range. */
  _own({ gt, gte, lt, lte }) {
    const keys = this._keys.all()
    const text = (bytes) => bytes.latin1Slice(0, bytes.length)
    const from = gt ? upperBound(keys, text(gt)) : gte ? lowerBound(keys, text(gte)) : 0
    const to = lt ? lowerBound(keys, text(lt)) : lte ? upperBound(keys, text(lte)) : keys.length
    return keys.slice(from, to).map((key) => [key, this._writes.get(key)])
  }

  *_merged(cursor, own, sign) {
    let at = 0
    const live = ([key, value]) => [Buffer.from(key, 'latin1'), Buffer.from(value)]
    try {
      for (const chunk of this._chunks(cursor)) {
        for (const entry of chunk) {
          const key = own.length > at ? entry[0].latin1Slice(0, entry[0].length) : ''
          for (; at < own.length && (sign === 1 ? own[at][0] < key : own[at][0] > key); at++) {
            if (own[at][1] !== null) yield live(own[at])
          }
          if (at === own.length || own[at][0] !== key) yield entry
          else if (own[at++][1] !== null) yield live(own[at - 1])
        }
      }
      for (; at < own.length; at++) if (own[at][1] !== null) yield live(own[at])
    } finally {
      cursor.close()
    }
  }

  _open({ gt, gte, lt, lte, reverse }) {
    const range = { reverse: Boolean(reverse) }
    for (const [name, bound] of Object.entries({ gt, gte, lt, lte })) if (bound) range[name] = bound
    return this._guarded(() => this._native.scan(range, RAW.form, this._version))
  }

  *_chunks(cursor) {
    for (;;) {
      const packed = this._guarded(() => cursor.next(CHUNK_ENTRIES, CHUNK_BYTES))
      if (packed === null) return
      const entries = []
      forEachEntry(packed, (_flags, _seq, key, keyEnd, valueEnd) => {
        entries.push([packed.subarray(key, keyEnd), packed.subarray(keyEnd, valueEnd)])
      })
      yield entries
    }
  }

  _stored(bytes) {
    return this._guarded(() => readEntry(this._native, RAW, bytes, this._version))?.value ?? null
  }

  _guarded(read) {
    try {
      return read()
    } catch (error) {
      this.fault = MultiHyperbeeError.from(error)
      throw this.fault
    }
  }
}

function same(a, b) {
  return a === null || b === null ? a === b : a.equals(b)
}

module.exports = { Overlay, RAW }
