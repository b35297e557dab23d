'use strict'

const { MultiHyperbeeError, translated } = require('../errors.js')
const { translatedAsync } = require('../session.js')
const { PlainCodec } = require('../codec.js')
const { decodeKey } = require('../keys.js')
const { waitUntil } = require('../wait.js')
const { AppendQueue } = require('./append-queue.js')
const { Driver } = require('./driver.js')
const { Runner } = require('./runner.js')
const { Acknowledging } = require('./acknowledging.js')
const { Handlers } = require('./handlers.js')
const { ReadOnlyBee } = require('./read-only-bee.js')
const { Past } = require('./past.js')
const { pauseOf } = require('../status.js')
const { setLocal } = require('./set-local.js')

/** What a database does in apply mode, and not in merge mode. */
class ApplyMode {
  /**
   * @param {import('../multi-hyperbee.js').MultiHyperbee} db
   * @param {import('../session.js').Session} session
   * @param {object} options as they were parsed
   */
  constructor(db, session, options) {
    const codec = new PlainCodec(options.keyEncoding, options.valueEncoding)
    /** Why `apply` was interrupted, until `update`. */
    this.interrupted = null
    this.bee = new ReadOnlyBee(session, codec)
    this._db = db
    this._session = session
    this._handlers = new Handlers(db, this.bee, options.handlers)
    this._runner = new Runner(db, codec, options.handlers)
    this._appends = new AppendQueue(codec.valueEncoding)
    this._driver = new Driver(this._appends, this._runner, {
      visible: (answer) => this._visible(answer),
      paused: (stop) => this._paused(stop),
      failed: (error) => db._reports.report(error),
      idle: () => this._idle()
    })
    this._acknowledging = new Acknowledging(this._driver, options.ackInterval)
    this._past = new Past(this._driver, this._runner, codec)
    session.finishing.add(() => this._close())
    session.whenOpen(
      (native) => this._start(native),
      (error) => this._driver.fail(error)
    )
  }

  /** What `open` made of the bee, or the bee. */
  get view() {
    return this._handlers.view
  }

  get stats() {
    const { undos, appends, waves, flushes } = this._driver.stats
    const { applies } = this._runner
    return { undos, applies, appends, waves, flushes, merged: 0, folded: 0, searched: 0 }
  }

  /** Why nothing more is applied, for `status`. */
  get pause() {
    const { paused: stop } = this._driver
    return stop === null ? null : pauseOf(stop, this.interrupted)
  }

  /** The core has found something to do. */
  progress() {
    this._driver.wake()
  }

  /** It is `apply` that grants: the request has informed who listens, and that is all. */
  async accept() {
    return false
  }

  mayInvite() {
    const what =
      'an invite makes a device grant by itself, and here apply grants: append what your apply grants on'
    throw new MultiHyperbeeError('ERR_MODE', what)
  }

  /** @returns {Promise<{ key: Buffer, length: number }>} */
  async append(values, { optimistic = false } = {}) {
    this._session.accept()
    const several = Array.isArray(values)
    if (several && values.length === 0) {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'append takes a value, or an array of at least one')
    }
    const appended = this._appends.add(several ? values : [values], Boolean(optimistic))
    // Those of one tick are one commit.
    queueMicrotask(() => this._driver.wake())
    const length = await appended
    return { key: this._session.info.local, length }
  }

  async update() {
    await this._session.ready()
    this.interrupted = null
    await this._driver.update()
  }

  async updated() {
    await this._session.ready()
    await this._driver.settled()
  }

  /** Until all that was announced is here and applied; what stops `apply` ends the wait. */
  async flush(options) {
    const native = await this._session.ready()
    const flushed = () => {
      const { paused } = this._driver
      if (paused?.kind === 'failed') throw paused.error
      return translated(() => native.isFlushed())
    }
    await this._driver.forcing(async () => {
      await this.update()
      await waitUntil(this._session, flushed, options, 'flush')
    })
  }

  /** A feed to fetch, of which somebody has told. */
  async wakeup(hint) {
    const key = decodeKey(hint?.key)
    if (!Number.isSafeInteger(hint.length) || hint.length < 0) {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'wakeup takes { key, length }')
    }
    const native = await this._session.ready()
    await translatedAsync(translated(() => native.wakeup(key, hint.length)))
  }

  /** From here on this replica writes another feed. */
  async setLocal(key, options) {
    const native = await this._session.ready()
    // Not between an append and its commit.
    await this._driver.exclusively(() => setLocal(this._db, this._session, native, key, options))
  }

  finality() {
    const { length, timestamp, waitingFor } = translated(() => this._session.native().finality())
    return { length, timestamp: timestamp ?? null, waitingFor, reason: null }
  }

  views() {
    return this._past.views(this._session.native(), this._session.info.key)
  }

  async replay() {
    return this._past.replay(await this._session.ready())
  }

  async verify(options) {
    if (!options?.replay) {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'verify runs apply again: pass { replay: true }')
    }
    return this._past.verify(await this._session.ready(), options)
  }

  _start(native) {
    const { info } = this._session
    this._runner.start(native, info)
    this._acknowledging.start(native)
    this._driver.start(native, (length) => translated(() => native.applied(this._session.info.local, length)))
  }

  _visible(answer) {
    if (this._driver.paused === null) this._handlers.recovered()
    this._handlers.updated(answer)
  }

  /** @returns {{ kind: string, error: Error | null }} */
  _paused({ kind, error, reason, batch }) {
    if (kind === 'interrupted') {
      this.interrupted = reason
      this._db.emit('interrupt', reason)
    } else {
      error = this._handlers.failed(error, batch)
    }
    this._session.changed()
    return { kind, error: error ?? null }
  }

  _idle() {
    if (this._session.state === 'open') this._acknowledging.look()
  }

  async _close() {
    this._acknowledging.stop()
    await this._driver.close()
    await this._handlers.close(this._runner)
  }
}

module.exports = { ApplyMode }
