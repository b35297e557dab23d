'use strict'

const { decodeKey } = require('../keys.js')
const { CONTROL } = require('./packed.js')

/** Thrown by `interrupt`, so that `apply` ends there. */
class Interruption extends Error {
  constructor() {
    super('apply was interrupted by host.interrupt')
  }
}

/**
 * What `apply` may ask of the database besides its view. Each call takes effect at once; the promises are there for
 * those who await them. Everything here is the same on every replica.
 */
class Host {
  /**
   * @param {import('./turn.js').Turn} turn
   * @param {{ key: Buffer, discoveryKey: Buffer }} info
   * @param {object} native
   */
  constructor(turn, info, native) {
    this._turn = turn
    this._info = info
    this._native = native
  }

  get key() {
    return this._info.key
  }

  get id() {
    return this._info.key.toString('hex')
  }

  get discoveryKey() {
    return this._info.discoveryKey
  }

  /** The name that is the same everywhere: `db.name` is only this replica's. */
  get name() {
    return this.id
  }

  /** Whether nothing was applied before this batch. */
  get genesis() {
    return this._turn.clock === 0
  }

  /** How many batches were applied before this one. */
  get clock() {
    return this._turn.clock
  }

  /** What is wrong with a key is thrown, not only rejected: nobody need await this. */
  addWriter(key, options) {
    const writer = decodeKey(key, 'writer')
    const { isIndexer = true } = options ?? {}
    this._turn.control(isIndexer ? CONTROL.grantIndexer : CONTROL.grant, writer)
    return Promise.resolve()
  }

  removeWriter(key, options) {
    const writer = decodeKey(key, 'writer')
    this._turn.control(options?.lost ? CONTROL.revokeLost : CONTROL.revoke, writer)
    return Promise.resolve()
  }

  ackWriter(key) {
    this._turn.control(CONTROL.acknowledged, decodeKey(key, 'writer'))
    return Promise.resolve()
  }

  /** Ends this call of `apply` and pauses applying before its batch. */
  interrupt(reason) {
    this._turn.check().interrupted = { reason: reason === undefined ? 'interrupted' : reason }
    throw new Interruption()
  }

  /** The anchor of this batch: alike on every replica. */
  async createAnchor() {
    const { writer, seq, entries } = this._turn.check().batch
    return { key: this._native.anchor(writer, seq + entries), length: 1 }
  }
}

module.exports = { Host }
