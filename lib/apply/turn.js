'use strict'

const { MultiHyperbeeError } = require('../errors.js')
const { CONTROL } = require('./packed.js')

/** One batch's turn at `apply`: what it may read and write, what it asked for, and when that is over. */
class Turn {
  /**
   * @param {import('./overlay.js').Overlay} overlay
   * @param {object} batch
   * @param {number} clock how many batches were applied before it
   */
  constructor(overlay, batch, clock) {
    this.overlay = overlay
    this.batch = batch
    this.clock = clock
    /** What it asked of who may write, in the order of the calls. */
    this.controls = []
    /** `{ reason }` once `host.interrupt` was called. */
    this.interrupted = null
    /** Write batches and streams that end with it. */
    this.open = new Set()
    this.ended = false
  }

  /** Throws once `apply` has returned. */
  check() {
    if (!this.ended) return this
    const what =
      'this call of apply has returned: await in it whatever uses its view or host; elsewhere read db.view'
    throw new MultiHyperbeeError('ERR_CLOSED', what)
  }

  control(tag, writer) {
    this.check().controls.push({ tag, writer })
  }

  /** Whether it vouched for the writer of its batch. */
  get acknowledged() {
    const vouches = ({ tag }) => tag !== CONTROL.revoke && tag !== CONTROL.revokeLost
    return this.controls.some((control) => vouches(control) && control.writer.equals(this.batch.writer))
  }

  /** Whether it changed who is granted or an indexer: then what comes next may be another batch. */
  get changesMembers() {
    return this.controls.some(({ tag }) => tag !== CONTROL.acknowledged)
  }

  /** @param {boolean} keep whether what was left unflushed counts */
  end(keep) {
    for (const one of [...this.open]) one.end(keep)
    this.ended = true
  }
}

module.exports = { Turn }
