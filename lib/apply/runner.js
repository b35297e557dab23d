'use strict'

const { setImmediate: otherWork } = require('node:timers/promises')
const { Overlay } = require('./overlay.js')
const { Turn } = require('./turn.js')
const { Host } = require('./host.js')
const { WorkingView } = require('./view.js')
const { nodesOf } = require('./nodes.js')
const { DonePacker } = require('./packed.js')

/** What is packed of one piece before it is committed: the rest comes with the next. */
const MAX_DONE_BYTES = 16 << 20
/** An `apply` that never waits would hold up everything else: after so many milliseconds it gives way. */
const GIVE_WAY_MS = 10
/** How long `close` lets a call of `apply` go on. What it did not finish is applied after the next opening. */
const GRACE_MS = 1000

/** Calls `apply`, batch by batch. */
class Runner {
  /**
   * @param {object} db what `open` and the user's functions are told
   * @param {import('../codec.js').Codec} codec of the view
   * @param {{ apply: Function, open: Function | null, close: Function | null }} handlers
   */
  constructor(db, codec, handlers) {
    /** Calls of `apply` since it was opened. */
    this.applies = 0
    this._db = db
    this._codec = codec
    this._handlers = handlers
    this._native = null
    this._info = null
    /** What `open` made of the working view, and whose turn that is. */
    this._opened = null
    this._since = 0
    this._closing = false
    this._abandon = () => {}
  }

  start(native, info) {
    this._native = native
    this._info = info
  }

  /**
   * Applies the batches of a piece until one fails, interrupts, or changes who is granted.
   *
   * @param {object} piece
   * @param {(n: number, batch: object) => object[]} valuesOf the values of its nth batch
   * @returns {Promise<{ done: DonePacker, stop: object | null }>} `stop`: `{ kind, error or reason, batch }`
   */
  async run(piece, valuesOf) {
    const overlay = new Overlay(this._native, piece.version)
    const done = new DonePacker(piece.generation)
    let { clock } = piece
    for (const [n, batch] of piece.batches.entries()) {
      const result = await this.turn(overlay, batch, valuesOf(n, batch), clock)
      if (result.kind !== 'applied' && result.kind !== 'rejected') return { done, stop: { ...result, batch } }
      const applied = result.kind === 'applied'
      done.add(applied, applied ? result.turn.controls : [], overlay.written(), overlay.size)
      if (applied) clock++
      if (applied && result.turn.changesMembers) break
      if (done.byteLength > MAX_DONE_BYTES) break
    }
    return { done, stop: null }
  }

  /**
   * One call of `apply`. What is not applied has left nothing in the overlay.
   *
   * @returns {Promise<{ kind: 'applied' | 'rejected' | 'failed' | 'interrupted' | 'abandoned', turn: Turn,
   *   error?: unknown, reason?: unknown }>}
   */
  async turn(overlay, batch, values, clock) {
    await this._giveWay()
    overlay.begin()
    const turn = new Turn(overlay, batch, clock)
    if (this._closing) return { kind: 'abandoned', turn }
    const result = await this._call(turn, values)
    if (result.kind !== 'applied') overlay.rollback()
    return result
  }

  async _call(turn, values) {
    this.applies++
    let seat = null
    let thrown = null
    try {
      seat = this._sit(turn)
      const nodes = nodesOf(turn.batch, values, this._codec.valueEncoding)
      const running = this._handlers.apply(nodes, seat.view, new Host(turn, this._info, this._native))
      if (await this._abandoned(running)) {
        turn.end(false)
        return { kind: 'abandoned', turn }
      }
      turn.end(turn.interrupted === null)
    } catch (error) {
      thrown = { error }
      if (!turn.ended) turn.end(false)
    } finally {
      if (seat !== null) seat.turn = null
    }
    return this._judged(turn, thrown)
  }

  _judged(turn, thrown) {
    const { batch, overlay, interrupted } = turn
    if (interrupted !== null) return { kind: 'interrupted', reason: interrupted.reason, turn }
    // A disk that failed says nothing about a batch: no replica may reject it for that.
    if (overlay.fault !== null) return { kind: 'failed', error: overlay.fault, turn }
    if (thrown !== null && !batch.optimistic) return { kind: 'failed', error: thrown.error, turn }
    if (batch.optimistic && (thrown !== null || !turn.acknowledged)) return { kind: 'rejected', turn }
    return { kind: 'applied', turn }
  }

  /** Waits for it. @returns {Promise<boolean>} whether it was given up before it ended */
  _abandoned(running) {
    if (typeof running?.then !== 'function') return false
    return new Promise((resolve, reject) => {
      this._abandon = () => resolve(true)
      running.then(() => resolve(false), reject)
    })
  }

  /** No further call; the one under way is given some time. @returns {() => void} to be called when it has ended */
  stop() {
    this._closing = true
    const timer = setTimeout(() => this._abandon(), GRACE_MS)
    return () => clearTimeout(timer)
  }

  /** What `open` made of the working view, if it was asked to. */
  get view() {
    return this._opened?.view ?? null
  }

  /** With `open`, one view all along; without, one for each turn, so that no other turn is mistaken for it. */
  _sit(turn) {
    if (this._handlers.open === null) {
      const seat = { turn, key: this._info.key, view: null }
      seat.view = new WorkingView(seat, this._codec)
      return seat
    }
    if (this._opened === null) {
      const seat = { turn, key: this._info.key, view: null }
      const bee = new WorkingView(seat, this._codec)
      seat.view = this._handlers.open(bee, this._db) ?? bee
      this._opened = seat
    }
    this._opened.turn = turn
    return this._opened
  }

  async _giveWay() {
    const now = performance.now()
    if (now - this._since < GIVE_WAY_MS) return
    await otherWork()
    this._since = performance.now()
  }
}

module.exports = { Runner }
