'use strict'

const { translated } = require('../errors.js')
const { aborted } = require('../wait.js')
const { OUTCOME, unpackSequence } = require('./packed.js')
const { nodesOf } = require('./nodes.js')
const { Rerun } = require('./rerun.js')

/** Positions read at once, or run again before others get their turn. */
const SLICE = 64

/** What was applied, from the start. */
class Past {
  /**
   * @param {import('./driver.js').Driver} driver
   * @param {import('./runner.js').Runner} runner
   * @param {import('../codec.js').Codec} codec
   */
  constructor(driver, runner, codec) {
    this._driver = driver
    this._runner = runner
    this._codec = codec
  }

  /** How far the order and the view go, and how much of either is final, as Autobee has it. */
  views(native, key) {
    const { length: final, placed } = translated(() => native.finality())
    const [last] = final === 0 ? [] : slice(native, final - 1, 1)
    return [
      { name: 'system', key, length: placed, signedLength: final },
      { name: 'view', key, length: native.version(), signedLength: last?.end ?? 0 }
    ]
  }

  /** Every value that is applied, in the order. */
  async replay(native) {
    for (;;) {
      const nodes = await this._nodes(native)
      if (nodes !== null) return nodes
    }
  }

  /** @returns {Promise<object[] | null>} null: the order has changed meanwhile */
  async _nodes(native) {
    const nodes = []
    let last = null
    for (;;) {
      // What was read last is read again: if it has moved, so has what is before it.
      const [again, ...positions] =
        last === null ? [null, ...slice(native, 0, SLICE)] : slice(native, last.index, SLICE)
      if (last !== null && !isSame(last, again)) return null
      if (positions.length === 0) return nodes
      for (const { outcome, batch } of positions) {
        if (outcome === OUTCOME.applied)
          nodes.push(...nodesOf(batch, batch.values, this._codec.valueEncoding))
      }
      last = positions.at(-1)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /**
   * Runs `apply` again on every batch, each over the state it had, and compares what it does with what it did.
   *
   * @param {object} native
   * @param {{ onprogress?: (progress: { checked: number, length: number }) => void, signal?: AbortSignal }} options
   * @returns {Promise<{ checked: number, skipped: number, differs: object | null }>} the first batch that comes out
   *   differently; skipped: those before which the view is not kept any more
   */
  async verify(native, { onprogress, signal } = {}) {
    const pin = translated(() => native.hold(native.oldestVersion()))
    try {
      const rerun = new Rerun(native, this._runner, pin.version)
      const found = (differs) => ({ checked: rerun.checked, skipped: rerun.skipped, differs })
      for (let from = 0; ;) {
        if (signal?.aborted) throw aborted(signal, 'verify')
        const positions = slice(native, from, SLICE)
        if (positions.length === 0) return found(null)
        const differs = await this._driver.exclusively(() => rerun.check(positions))
        if (differs !== null) return found(differs)
        from = positions.at(-1).index + 1
        onprogress?.({ checked: rerun.checked, length: translated(() => native.finality()).placed })
      }
    } finally {
      pin.close()
    }
  }
}

function slice(native, from, limit) {
  return unpackSequence(translated(() => native.sequence(from, limit)))
}

function isSame(a, b) {
  return (
    a.batch.writer.equals(b?.batch.writer ?? Buffer.alloc(0)) &&
    a.batch.seq === b.batch.seq &&
    a.end === b.end
  )
}

module.exports = { Past }
