'use strict'

const { setImmediate: turn } = require('node:timers/promises')
const { MAX_KEY_BYTES } = require('../codec.js')
const { forEachEntry } = require('../packed.js')
const { Slices } = require('../pace.js')
const { mapped } = require('./errors.js')

/** Read ahead of a `next()`; doubles from here up to what a slice brings. */
const FIRST_AHEAD = 8
const MOST_AHEAD = 256

/**
 * Makes of one packed entry what an iterator hands out.
 *
 * @typedef {(packed: Buffer, key: number, keyEnd: number, valueEnd: number) => any} Pick
 */

/** @type {Pick} */
const pickKey = (packed, key, keyEnd) => packed.subarray(key, keyEnd)
/** @type {Pick} */
const pickValue = (packed, key, keyEnd, valueEnd) => packed.subarray(keyEnd, valueEnd)

/** Live entries in key order at one version, over a native cursor that is opened when it is first read. */
class Rows {
  /**
   * @param {(range: object) => object} scan opens a native cursor
   * @param {{ gt?: Buffer, gte?: Buffer, lt?: Buffer, lte?: Buffer, reverse: boolean }} options as abstract-level has
   *   them: `gte` wins over `gt`, `lte` over `lt`
   * @param {Pick} pick
   */
  constructor(scan, options, pick) {
    this._scan = scan
    this._range = nativeRange(options)
    this._pick = pick
    this._slices = new Slices()
    this._start(this._range)
  }

  /** The next one; undefined at the end. Lets the event loop turn only where much is passed over. */
  async one(check) {
    if (this._next === this._rows.length) this._fill(1)
    if (this._next < this._rows.length) return this._rows[this._next++]
    return this._cursor === null ? undefined : (await this.many(1, check))[0]
  }

  /**
   * At most `count`, fewer only at the end. Lets the event loop turn between chunks.
   *
   * @param {() => void} [check] called after every turn; ends the reading by throwing
   */
  async many(count, check) {
    const rows = []
    for (;;) {
      if (this._next === this._rows.length) this._fill(count - rows.length)
      const end = Math.min(this._rows.length, this._next + count - rows.length)
      while (this._next < end) rows.push(this._rows[this._next++])
      if (rows.length >= count || this._cursor === null) return rows
      await turn()
      check?.()
    }
  }

  /** Goes on from `target`, which is the next one if it is there. Outside the range there is nothing. */
  seek(target) {
    this.close()
    if (!within(target, this._range)) return
    const { gt, gte, lt, lte, reverse } = this._range
    this._start(nativeRange(reverse ? { gt, gte, lte: target, reverse } : { gte: target, lt, lte, reverse }))
  }

  close() {
    this._cursor?.close()
    this._cursor = null
    this._opens = null
    this._rows = []
    this._next = 0
  }

  _start(range) {
    this._opens = range
    this._cursor = null
    this._rows = []
    this._next = 0
    this._ahead = FIRST_AHEAD
  }

  /** Reads a chunk, of `count` if that is more than is read ahead anyway. At the end there is no cursor and no row. */
  _fill(count) {
    this._rows = []
    this._next = 0
    if (this._opens !== null) {
      this._cursor = this._scan(this._opens)
      this._opens = null
    }
    if (this._cursor === null) return
    const entries = Math.max(count, this._ahead)
    this._ahead = Math.min(MOST_AHEAD, this._ahead * 2)
    const packed = mapped(() => this._slices.read(this._cursor, entries))
    if (packed === null) this._cursor = null
    else {
      forEachEntry(packed, (_flags, _seq, key, keyEnd, valueEnd) => {
        this._rows.push(this._pick(packed, key, keyEnd, valueEnd))
      })
    }
  }
}

/** At most one bound on either side, none longer than a key can be. */
function nativeRange({ gt, gte, lt, lte, reverse }) {
  const range = { reverse }
  if (gte !== undefined) bound(range, 'gte', 'gt', gte)
  else if (gt !== undefined) bound(range, 'gt', 'gt', gt)
  if (lte !== undefined) bound(range, 'lte', 'lte', lte)
  else if (lt !== undefined) bound(range, 'lt', 'lte', lt)
  return range
}

/** Of a bound that is longer than any key, the keys on its far side are those behind its beginning. */
function bound(range, name, ifLonger, key) {
  if (key.length <= MAX_KEY_BYTES) range[name] = key
  else range[ifLonger] = key.subarray(0, MAX_KEY_BYTES)
}

function within(key, { gt, gte, lt, lte }) {
  if (gte !== undefined && Buffer.compare(key, gte) < 0) return false
  if (gt !== undefined && Buffer.compare(key, gt) <= 0) return false
  if (lte !== undefined && Buffer.compare(key, lte) > 0) return false
  return lt === undefined || Buffer.compare(key, lt) < 0
}

module.exports = { Rows, pickKey, pickValue }
