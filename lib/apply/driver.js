'use strict'

const { MultiHyperbeeError } = require('../errors.js')
const { translatedAsync, closed } = require('../session.js')
const { packAppends, unpackAnswer, DonePacker } = require('./packed.js')
const { Hold } = require('./hold.js')

const FORCE = 1
const COMMITTED = 1
const VISIBLE = 2

/**
 * Drives applying, one native call at a time: stages what was appended, fetches pieces, has `apply` called on them, gives
 * the results back. It runs while there is something to do, then sleeps until something happens.
 */
class Driver {
  /**
   * @param {import('./append-queue.js').AppendQueue} appends
   * @param {import('./runner.js').Runner} runner
   * @param {{ visible: (answer: object) => void, paused: (stop: object) => void, failed: (error: Error) => void,
   *   idle: () => void }} told what happened
   */
  constructor(appends, runner, told) {
    this.stats = { undos: 0, appends: 0, waves: 0, flushes: 0 }
    /** What stopped `apply`, until `update`: `{ kind, error | reason }`. */
    this.paused = null
    /** Whether it is this handle that applies. */
    this.claimed = false
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
    /** Who waits for `update`, and how many want no waiting at all. */
    this._updates = []
    this._forcing = 0
    /** Work of others in the same lane. */
    this._jobs = []
    /** What the piece being committed is, for `stats`. */
    this._piece = null
    this._inWave = false
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
    if (this._appends.unwritten || this._updates.length > 0) this._hold.take()
    if (this._running !== null || this._native === null) return
    this._running = this._run().finally(() => {
      this._running = null
      if (this._again || this._appends.waiting) this.wake()
    })
  }

  /** Applies what is here without waiting for more, and what had failed or was interrupted. */
  update() {
    return new Promise((resolve, reject) => {
      this._updates.push({ resolve, reject })
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
    for (const { reject } of [...this._jobs.splice(0), ...this._updates.splice(0)]) reject(error)
    this._hold.release()
  }

  async _run() {
    while (this._again || this._appends.waiting) {
      this._again = false
      clearTimeout(this._timer)
      try {
        if (!this.claimed && !this._closing) this.claimed = this._native.claimApply()
        await this._runJobs()
        await this._pass()
        this._told.idle()
      } catch (cause) {
        this._broken(MultiHyperbeeError.from(cause))
      }
      this._appends.settle(() => true)
    }
    if (!this._appends.unwritten && this._updates.length === 0) this._hold.release()
  }

  /** The core refused: what is under way is lost, what waits is tried again. */
  _broken(error) {
    this._appends.fail(error, false)
    for (const { reject } of this._updates.splice(0)) reject(error)
    if (!this._closing) this._told.failed(error)
  }

  /** Until there is nothing more to do now. */
  async _pass() {
    let [piece, done, stagedLast] = [null, null, false]
    for (;;) {
      if (piece !== null && (stagedLast || !this._appends.waiting)) {
        // What was just appended goes first, but pieces get their turn.
        stagedLast = false
        done = await this._apply(piece)
        piece = null
        continue
      }
      const staging = done === null && this._appends.waiting
      if (done === null && !staging && !this._mayApply()) break
      const updates = staging ? [] : [...this._updates]
      stagedLast = staging
      const answer = staging ? await this._stage() : await this._step(done)
      done = null
      if (answer === null) continue
      this._take(answer)
      if (answer.piece?.staged) done = await this._apply(answer.piece)
      else piece = this._mayApply() ? answer.piece : null
      if (done !== null || piece !== null || this._appends.waiting) continue
      if (!this._mayApply() || this._finished(answer, updates)) break
    }
    if (!this._mayApply()) this._giveUpUpdates()
  }

  /** Nothing to do now: who had asked before that was found is told. @returns {boolean} whether nobody else asks */
  _finished({ wait }, updates) {
    if (wait !== null) {
      this._timer = setTimeout(() => this.wake(), wait).unref()
      // Who asked meanwhile has woken us.
      return true
    }
    for (const update of updates) update.resolve()
    this._updates = this._updates.filter((update) => !updates.includes(update))
    return this._updates.length === 0
  }

  _giveUpUpdates() {
    const stopped = this.paused?.kind === 'failed' ? this.paused.error : null
    for (const { resolve, reject } of this._updates.splice(0)) {
      if (stopped === null) resolve()
      else reject(stopped)
    }
  }

  _mayApply() {
    return this.claimed && this.paused === null && !this._closing
  }

  async _step(done) {
    const flags = this._updates.length > 0 || this._forcing > 0 ? FORCE : 0
    return unpackAnswer(await translatedAsync(this._native.applyStep(flags, done)))
  }

  async _stage() {
    try {
      return unpackAnswer(await translatedAsync(this._native.stage(packAppends(this._appends.stage()))))
    } catch (error) {
      this._appends.refused(error)
      return null
    }
  }

  /** @returns {Promise<Buffer | null>} the results of its batches; null: none */
  async _apply(piece) {
    // What is staged and cannot be applied still has to reach the disk.
    if (!this._mayApply()) return piece.staged ? new DonePacker(piece.generation).take() : null
    const ownValues = (n, batch) => this._appends.valuesOf(n, batch)
    const { done, stop } = await this._runner.run(
      piece,
      piece.staged ? ownValues : (_n, batch) => batch.values
    )
    if (stop !== null && stop.kind !== 'abandoned') {
      this.paused = this._told.paused(stop)
    }
    if (done.count === 0 && !piece.staged) return null
    this._piece = piece
    return done.take()
  }

  _take(answer) {
    const { committed, appended } = answer
    if (committed === COMMITTED || committed === VISIBLE) {
      this.stats.flushes++
      if (this._piece?.undone > 0) this.stats.undos++
      if (this._piece?.staged === false) this._inWave = true
    }
    this._piece = null
    if (committed === VISIBLE) {
      if (this._inWave) this.stats.waves++
      this._inWave = false
      this._told.visible(answer)
    }
    this.stats.appends += appended.length
    this._appends.written(appended)
    this._appends.settle(this._isApplied)
  }

  async _runJobs() {
    for (const { job, resolve, reject } of this._jobs.splice(0)) {
      await job().then(resolve, reject)
    }
  }
}

module.exports = { Driver }
