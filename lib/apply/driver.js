'use strict'

const { MultiHyperbeeError } = require('../errors.js')
const { closed } = require('../session.js')
const { Hold } = require('./hold.js')
const { Pass } = require('./pass.js')

/**
 * Drives applying, one native call at a time: what was appended is staged, pieces are fetched, `apply` is called on them,
 * the results are given back. It runs while there is something to do, then sleeps until something happens.
 */
class Driver {
  /**
   * @param {import('./append-queue.js').AppendQueue} appends
   * @param {import('./runner.js').Runner} runner
   * @param {{ visible: (answer: object) => void, paused: (stop: object) => object, failed: (error: Error) => void,
   *   idle: () => void }} told what happened
   */
  constructor(appends, runner, told) {
    this.stats = { undos: 0, appends: 0, waves: 0, flushes: 0 }
    /** What stopped `apply`, until `update`: `{ kind, error }`. */
    this.paused = null
    /** Whether it is this handle that applies. */
    this.claimed = false
    /** Whether a wave has been committed in part. */
    this.inWave = false
    /** Who waits for `update`. */
    this.updates = []
    this._appends = appends
    this._runner = runner
    this._told = told
    this._native = null
    this._isApplied = null
    this._running = null
    this._again = false
    this._timer = null
    this._closing = false
    this._hold = new Hold()
    /** How many want no waiting at all. */
    this._forcing = 0
    /** Work of others in the same lane. */
    this._jobs = []
  }

  /** @param {(length: number) => boolean} isApplied whether the local feed is applied up to there */
  start(native, isApplied) {
    this._native = native
    this._isApplied = isApplied
    this.wake()
  }

  /** There is something to do. */
  wake() {
    this._again = true
    if (this._unfinished) this._hold.take()
    if (this._running !== null || this._native === null) return
    this._running = this._run().finally(() => {
      this._running = null
      if (this._again || this._appends.waiting) this.wake()
    })
  }

  /** Applies what is here without waiting for more, and what had failed or was interrupted. */
  update() {
    return new Promise((resolve, reject) => {
      this.updates.push({ resolve, reject })
      this.paused = null
      this.wake()
    })
  }

  /** Lets nothing wait as long as `during` takes. */
  async forcing(during) {
    this._forcing++
    try {
      return await during()
    } finally {
      this._forcing--
    }
  }

  /** When what is under way is over. */
  async settled() {
    while (this._running !== null) await this._running
  }

  /** Runs `job` while nothing else does. */
  exclusively(job) {
    return new Promise((resolve, reject) => {
      this._jobs.push({ job, resolve, reject })
      this.wake()
    })
  }

  /** Puts on disk what was appended, and applies no more. */
  async close() {
    this._closing = true
    const ended = this._runner.stop()
    this.wake()
    await this.settled()
    ended()
    clearTimeout(this._timer)
    this.fail(closed())
  }

  /** Nothing that waits will be done: the database did not open, or is closed. */
  fail(error) {
    this._appends.fail(error, true)
    for (const { reject } of [...this._jobs.splice(0), ...this.updates.splice(0)]) reject(error)
    this._hold.release()
  }

  get mayApply() {
    return this.claimed && this.paused === null && !this._closing
  }

  get forced() {
    return this.updates.length > 0 || this._forcing > 0
  }

  isApplied(length) {
    return this._isApplied(length)
  }

  /** For these, what was here when they asked is applied. */
  updated(updates) {
    for (const update of updates) update.resolve()
    this.updates = this.updates.filter((update) => !updates.includes(update))
  }

  get _unfinished() {
    return this._appends.unwritten || this.updates.length > 0
  }

  async _run() {
    while (this._again || this._appends.waiting) {
      this._again = false
      clearTimeout(this._timer)
      const asked = [...this.updates]
      try {
        if (!this.claimed && !this._closing) this.claimed = this._native.claimApply()
        await this._runJobs()
        const wait = await new Pass(this, this._native, this._parts).run()
        if (!this.mayApply) this._giveUp(asked)
        else if (wait === null) this._told.idle()
        else this._timer = setTimeout(() => this.wake(), wait).unref()
      } catch (cause) {
        this._broken(MultiHyperbeeError.from(cause), asked)
      }
      this._appends.settle(() => true)
    }
    if (!this._unfinished) this._hold.release()
  }

  get _parts() {
    return { appends: this._appends, runner: this._runner, told: this._told, stats: this.stats }
  }

  async _runJobs() {
    for (const { job, resolve, reject } of this._jobs.splice(0)) {
      await job().then(resolve, reject)
    }
  }

  /** Nothing can be applied here now: who asked is told why, unless somebody else does it. */
  _giveUp(updates) {
    if (this.paused?.kind === 'failed') this._refuse(updates, this.paused.error)
    else this.updated(updates)
  }

  /** The core refused: what is under way is lost, what waits is tried again. */
  _broken(error, updates) {
    this._appends.fail(error, false)
    this._refuse(updates, error)
    if (!this._closing) this._told.failed(error)
  }

  _refuse(updates, error) {
    for (const update of updates) update.reject(error)
    this.updates = this.updates.filter((update) => !updates.includes(update))
  }
}

module.exports = { Driver }
