'use strict'

const { translated } = require('../errors.js')
const { closed } = require('../session.js')
const { forEachEntry, FLAG_VALUE } = require('../packed.js')
const { Overlay, RAW } = require('./overlay.js')
const { OUTCOME } = require('./packed.js')

const NO_PREFIX = Buffer.alloc(0)
const CHUNK_ENTRIES = 1024
const CHUNK_BYTES = 1 << 20

/** Runs positions of the order again, and says which comes out differently. */
class Rerun {
  /** @param {number} oldest version that can be read */
  constructor(native, runner, oldest) {
    /** Batches run again. */
    this.checked = 0
    /** Those before which the view is not kept any more. */
    this.skipped = 0
    this._oldest = oldest
    this._native = native
    this._runner = runner
    this._clock = 0
  }

  /** @returns {Promise<object | null>} what is different about the first of them that is */
  async check(positions) {
    for (const position of positions) {
      const { outcome, batch, index } = position
      if (outcome !== OUTCOME.applied && outcome !== OUTCOME.rejected) continue
      const isKept = this._oldest <= 1 || position.begin >= this._oldest
      const reason = isKept ? await this._differs(position) : null
      if (isKept) this.checked++
      else this.skipped++
      if (reason !== null)
        return { index, writer: batch.writer, length: batch.seq + batch.entries, ...reason }
      if (outcome === OUTCOME.applied) this._clock++
    }
    return null
  }

  async _differs({ begin, end, outcome, controls, batch }) {
    const overlay = new Overlay(this._native, begin)
    const { kind, turn, error } = await this._runner.turn(overlay, batch, batch.values, this._clock)
    if (kind === 'abandoned') throw closed()
    if (kind === 'failed') {
      // What the disk says is no difference.
      if (overlay.fault !== null) throw overlay.fault
      return { reason: 'apply throws now', error }
    }
    if (kind === 'interrupted') return { reason: 'apply interrupts now' }
    const was = outcome === OUTCOME.applied ? 'applied' : 'rejected'
    if (kind !== was) return { reason: `it was ${was}, and is ${kind} now` }
    if (kind === 'rejected') return null
    if (!asked(controls, turn.controls)) return { reason: 'apply grants or revokes differently now' }
    return this._differingKey(overlay, begin, end)
  }

  /** The first key that is written differently. */
  _differingKey(overlay, begin, end) {
    const now = new Map(overlay.changed())
    const then = this._written(begin, end)
    for (const key of [...new Set([...now.keys(), ...then.keys()])].sort()) {
      const [a, b] = [now.get(key), then.get(key)]
      if (a === undefined || b === undefined || !sameBytes(a, b)) {
        return { reason: 'apply writes this key differently now', key: Buffer.from(key, 'latin1') }
      }
    }
    return null
  }

  /** What the versions from `begin` to `end` changed, by key. */
  _written(begin, end) {
    const written = new Overlay(this._native, begin)
    if (end === begin) return new Map()
    const cursor = translated(() => this._native.history(NO_PREFIX, begin + 1, end, false, RAW.form))
    for (;;) {
      const packed = translated(() => cursor.next(CHUNK_ENTRIES, CHUNK_BYTES))
      if (packed === null) return new Map(written.changed())
      forEachEntry(packed, (flags, _seq, key, keyEnd, valueEnd) => {
        const value = (flags & FLAG_VALUE) === 0 ? null : packed.subarray(keyEnd, valueEnd)
        written.set(packed.latin1Slice(key, keyEnd), value)
      })
    }
  }
}

/** Whether each change that was made was asked for; what was asked and changed nothing is not on record. */
function asked(made, controls) {
  return made.every(({ tag, writer }) => controls.some((one) => one.tag === tag && one.writer.equals(writer)))
}

function sameBytes(a, b) {
  return a === null || b === null ? a === b : a.equals(b)
}

module.exports = { Rerun }
