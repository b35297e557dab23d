'use strict'

const { translatedAsync } = require('../session.js')
const { packAppends, unpackAnswer, DonePacker } = require('./packed.js')

const FORCE = 1
const COMMITTED = 1
const VISIBLE = 2

/** From waking up to where there is nothing more to do: one native call at a time, each with its answer. */
class Pass {
  /**
   * @param {import('./driver.js').Driver} driver
   * @param {object} native
   * @param {{ appends: object, runner: object, told: object, stats: object }} parts of the driver
   */
  constructor(driver, native, { appends, runner, told, stats }) {
    this._driver = driver
    this._native = native
    this._appends = appends
    this._runner = runner
    this._told = told
    this._stats = stats
    /** What comes next: a piece to be applied, or the results of one to be committed. */
    this._piece = null
    this._done = null
    /** Whether appends went ahead of pieces last. */
    this._staged = false
    /** The piece whose results are being committed, for `stats`. */
    this._committing = null
  }

  /** @returns {Promise<number | null>} milliseconds after which there may be something to do; null: nothing is known of */
  async run() {
    for (;;) {
      if (this._piece !== null && (this._staged || !this._appends.waiting)) {
        // What was just appended goes first, but pieces get their turn.
        this._staged = false
        this._done = await this._apply(this._piece)
        this._piece = null
        continue
      }
      if (!this._mayCall) return null
      const updates = this._stages ? [] : [...this._driver.updates]
      const answer = this._stages ? await this._stage() : await this._step()
      if (answer === null) continue
      await this._take(answer)
      if (this._done !== null || this._piece !== null || this._appends.waiting) continue
      if (!this._driver.mayApply) return null
      if (answer.wait !== null) return answer.wait
      this._driver.updated(updates)
      if (this._driver.updates.length === 0) return null
    }
  }

  get _stages() {
    return this._done === null && this._appends.waiting
  }

  get _mayCall() {
    return this._done !== null || this._appends.waiting || this._driver.mayApply
  }

  async _step() {
    const done = this._done
    this._done = null
    return unpackAnswer(await translatedAsync(this._native.applyStep(this._driver.forced ? FORCE : 0, done)))
  }

  /** @returns {Promise<object | null>} null: refused */
  async _stage() {
    this._staged = true
    try {
      return unpackAnswer(await translatedAsync(this._native.stage(packAppends(this._appends.stage()))))
    } catch (error) {
      this._appends.refused(error)
      return null
    }
  }

  async _take(answer) {
    const { piece, appended } = answer
    this._count(answer)
    if (answer.committed === VISIBLE) this._told.visible(answer)
    this._stats.appends += appended.length
    this._appends.written(appended)
    this._appends.settle((length) => this._driver.isApplied(length))
    // Own appends are on disk only once they are answered for.
    if (piece?.staged) this._done = await this._apply(piece)
    else this._piece = this._driver.mayApply ? piece : null
  }

  _count({ committed }) {
    const piece = this._committing
    this._committing = null
    if (committed !== COMMITTED && committed !== VISIBLE) return
    this._stats.flushes++
    if (piece?.undone > 0) this._stats.undos++
    if (piece?.staged === false) this._driver.inWave = true
    if (committed !== VISIBLE || !this._driver.inWave) return
    this._stats.waves++
    this._driver.inWave = false
  }

  /** @returns {Promise<Buffer | null>} the results of its batches; null: none */
  async _apply(piece) {
    // What is staged and cannot be applied still has to reach the disk.
    if (!this._driver.mayApply) return piece.staged ? new DonePacker(piece.generation).take() : null
    const ownValues = (n, batch) => this._appends.valuesOf(n, batch)
    const { done, stop } = await this._runner.run(
      piece,
      piece.staged ? ownValues : (_n, batch) => batch.values
    )
    if (stop !== null && stop.kind !== 'abandoned') this._driver.paused = this._told.paused(stop)
    if (done.count === 0 && !piece.staged) return null
    this._committing = piece
    return done.take()
  }
}

module.exports = { Pass }
