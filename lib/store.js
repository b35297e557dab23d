'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { decodeKey } = require('./keys.js')
const { checkEncryptionKey, seedOf } = require('./options.js')
const { Feed } = require('./feed.js')
const { translatedAsync } = require('./session.js')
const { replicate } = require('./replication.js')
const { fromNative, peersOf, reasonOf, PeerErrors } = require('./status.js')
const { verify } = require('./verify.js')
const { compactStore } = require('./compact.js')
const native = require('../native.js')

/** A directory that holds feeds and databases: one environment, shared by all that is opened in it. */
class Store {
  /**
   * @param {string} location the path of a directory, or `':memory:'`
   * @param {{ readOnly?: boolean, encryptionKey?: Uint8Array | Promise<Uint8Array> }} [options]
   */
  constructor(location, options = {}) {
    if (location instanceof Shared) {
      this._shared = location
      this._prefix = options.prefix
    } else {
      if (typeof location !== 'string' || location === '') {
        throw new MultiHyperbeeError('ERR_OPTIONS', "a Store takes the path of a directory, or ':memory:'")
      }
      const encryptionKey = checkEncryptionKey(options?.encryptionKey ?? null)
      this._shared = new Shared(location, Boolean(options?.readOnly), encryptionKey)
      this._prefix = ''
    }
  }

  get closed() {
    return this._shared.closing !== null
  }

  /** Waits until it is open; rejects with why it is not. */
  async ready() {
    await this._shared.native()
  }

  /** The feed of a key, or this store's own by name or key pair. */
  get(which) {
    if (which instanceof Uint8Array || typeof which === 'string') return this._feed({ key: decodeKey(which) })
    if (which?.key != null) return this._feed({ key: decodeKey(which.key) })
    if (typeof which?.name === 'string') return this._feed({ name: this._prefix + which.name })
    if (which?.keyPair != null) return this._feed({ keyPair: which.keyPair })
    throw new MultiHyperbeeError('ERR_OPTIONS', 'get takes a key, { key }, { name } or { keyPair }')
  }

  /** This store, its names beginning with `name`: closing either closes both. */
  namespace(name) {
    if (typeof name !== 'string') throw new MultiHyperbeeError('ERR_OPTIONS', 'namespace takes a text')
    return new Store(this._shared, { prefix: `${this._prefix}${name}/` })
  }

  /** What is open in it: the keys of feeds and databases. */
  list() {
    return [...this._shared.open].map((one) => one.key).filter((key) => key != null)
  }

  /**
   * Stores and forwards the feeds of a database without reading them, as long as what it gives back is open. It has
   * `replicate`, `status`, `flush`, `close`; whatever reads or writes is refused.
   */
  relay(key, options) {
    const { MultiHyperbee } = require('./multi-hyperbee.js')
    return new MultiHyperbee(this, {
      ...(options?.name != null && { name: options.name }),
      key,
      relay: limitsOf(options)
    })
  }

  /** Where replication of everything open in it stands. */
  status() {
    const { opened, streams, peerErrors } = this._shared
    const state = this.closed ? 'closed' : opened === null ? 'opening' : 'open'
    const errors = peerErrors.list()
    if (state !== 'open') return { state, databases: [], peers: [], reason: null, peerErrors: errors }
    const { databases, peers, reason } = translated(() => opened.status())
    return {
      state,
      databases: databases.map(({ name, key, status }) => ({ name, key, ...fromNative(status, streams) })),
      peers: peersOf(peers, streams),
      reason: reasonOf(reason),
      peerErrors: errors
    }
  }

  /** A connection that offers every database open in this store. */
  replicate(isInitiatorOrStream, options) {
    if (this.closed) throw storeClosed()
    const open = async (peerOptions, wake) => (await this._shared.native()).replicate(peerOptions, wake)
    const offer = async (peer) => peer.offerAll(await this._shared.native())
    return replicate({ owner: this._shared, open, offer, db: null }, isInitiatorOrStream, options)
  }

  /**
   * Copies what is committed now into a directory that holds no store yet. Writing goes on meanwhile. A store opened from
   * the copy knows that it is one: see `resume`.
   */
  async backup(path) {
    if (typeof path !== 'string' || path === '') {
      throw new MultiHyperbeeError('ERR_OPTIONS', 'backup takes the path of a directory')
    }
    const store = await this._shared.native()
    await translatedAsync(store.backup(path))
  }

  /**
   * Lets a store that was made by `backup` write again (ERR_RESTORED until then, or until a peer has confirmed it), or one
   * whose peers have only the beginning of what it had sent. `mine`: the caller's word that nothing newer exists anywhere.
   */
  async resume(options) {
    if (options?.mine !== true) {
      throw new MultiHyperbeeError(
        'ERR_OPTIONS',
        'resume takes { mine: true }: your word that nothing newer of what this device wrote exists anywhere'
      )
    }
    const store = await this._shared.native()
    await translatedAsync(store.resume())
  }

  /** Whether all that is stored is whole: pages, feeds, rows, views. Says what is damaged, and mends it with `repair`. */
  async verify(options) {
    return verify(await this._shared.native(), options, this._shared.encryptionKey)
  }

  /** Drops what its open databases no longer keep of their past, and gives the room back to the disk. */
  async compact(options) {
    return compactStore(await this._shared.native(), options)
  }

  /** Closes everything that was opened from it. Idempotent. */
  close() {
    return this._shared.close()
  }

  _feed({ key, name, keyPair }) {
    if (this.closed) throw storeClosed()
    const open = async () => {
      const store = await this._shared.native()
      return translatedAsync(store.feed(key, name, await seedOf(keyPair ?? null)))
    }
    return new Feed(open, key ?? null, this._shared.open)
  }

  /** For MultiHyperbee. */
  async _database(options) {
    const store = await this._shared.native()
    const fallback = () => (options.relay === undefined ? 'db' : `relay ${options.key.toString('hex')}`)
    const name =
      options.name === null && this._prefix === '' ? undefined : this._prefix + (options.name ?? fallback())
    return translatedAsync(store.database({ ...options, name }))
  }
}

/** What a store and its namespaces share. */
class Shared {
  constructor(location, readOnly, encryptionKey) {
    /** Of its databases, where they do not say otherwise. */
    this.encryptionKey = encryptionKey
    // Whoever opens a database with it learns that it was broken.
    if (typeof encryptionKey?.then === 'function') encryptionKey.then(null, () => {})

    /** What is to be closed before it: each has `close()`. */
    this.open = new Set()
    /** Streams by the id of their peer, to name them in `synced`. */
    this.streams = new Map()
    this.peerErrors = new PeerErrors()
    /** The native store, once it is open. */
    this.opened = null
    this.closing = null
    this.inMemory = location === ':memory:'
    const path = this.inMemory ? undefined : location
    this._opening = translatedAsync(native.NativeStore.open(path, readOnly))
    this._opening.then(
      (store) => (this.opened = store),
      () => {}
    )
  }

  native() {
    return this.closing === null ? this._opening : Promise.reject(storeClosed())
  }

  close() {
    if (this.closing === null) this.closing = this._close()
    return this.closing
  }

  async _close() {
    const opening = this._opening.catch(() => null)
    await Promise.all([...this.open].map((one) => one.close()))
    for (const stream of [...this.streams.values()]) stream.destroy()
    const store = await opening
    if (store !== null) await translatedAsync(store.close())
  }
}

function limitsOf({ maxFeeds, maxBytes } = {}) {
  return maxFeeds === undefined && maxBytes === undefined ? true : { maxFeeds, maxBytes }
}

function storeClosed() {
  return new MultiHyperbeeError('ERR_CLOSED', 'the store is closed: open it again with new Store()')
}

module.exports = { Store }
