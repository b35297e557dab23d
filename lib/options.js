'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { decodeKey } = require('./keys.js')
const { resolveEncoding } = require('./encodings.js')
const native = require('../native.js')

/** Feeds of a relay, if nothing is said. */
const MAX_RELAY_FEEDS = 4096
const MAX_DRIFT = 60_000
const ACK_INTERVAL_MS = 10_000
/** What setTimeout takes. */
const MAX_TIMER_MS = 2 ** 31 - 1

const HANDLERS = ['apply', 'open', 'update', 'close']

/** Options of api.md that this version does not have yet, and what is refused until it does. */
const NOT_YET = {}

/**
 * The constructor's arguments in either form, checked.
 *
 * @returns {{ storage: string | object, name: string | null, key: Buffer | null, keyEncoding: object,
 *   valueEncoding: object, keyPair: object | null, open: boolean, maxDrift: number, history?: number, handlers: object | null,
 *   sealing: { encryptionKey: Uint8Array | Promise<Uint8Array> | null, encrypted: boolean | null },
 *   optimistic: boolean, ackInterval: number, relay: number[] | null,
 *   functions: { mergeHandler: object | Function | false | null, resolver: Function | false | null } | null }}
 */
function parseArguments(storage, second, third, isStore) {
  const keyForm = second == null || typeof second === 'string' || second instanceof Uint8Array
  const options = (keyForm ? third : second) ?? {}
  checkOptions(options)
  const functions = checkFunctions(keyForm ? options.mergeHandler : (third ?? options.mergeHandler), options)
  const key = keyForm && second != null ? second : options.key
  return {
    storage: checkStorage(storage, isStore),
    name: options.name ?? null,
    key: key == null ? null : decodeKey(key),
    keyPair: options.keyPair ?? null,
    sealing: parseSealing(options),
    open: options.writers === 'open',
    maxDrift: options.maxDrift ?? MAX_DRIFT,
    history: keptVersions(options.history),
    functions,
    relay: relayOf(options, key),
    ...modeOf(options)
  }
}

/** Who merges; null: nothing is said. False: the built-in merge, whoever did before. */
function checkFunctions(mergeHandler = null, { resolver = null }) {
  const isHandler = typeof mergeHandler === 'object' || typeof mergeHandler?.prototype === 'object'
  if (mergeHandler !== false && !isHandler) {
    throw wrong('mergeHandler must be an object with merge and perhaps genDiff, or a class of such; or false')
  }
  if (typeof mergeHandler === 'object' && mergeHandler !== null) checkHandler(mergeHandler)
  if (resolver !== null && resolver !== false && typeof resolver !== 'function') {
    throw wrong('resolver must be a function (a, b) that returns a or b; or false')
  }
  return mergeHandler === null && resolver === null ? null : { mergeHandler, resolver }
}

function checkHandler(handler) {
  const { merge, genDiff } = handler ?? {}
  if (
    typeof merge === 'function'
      ? genDiff == null || typeof genDiff === 'function'
      : merge == null && typeof genDiff === 'function'
  )
    return
  throw wrong(
    'a mergeHandler has a method merge(diff, { key, current, diffs }), genDiff(oldValue, newValue), or both'
  )
}

/** The functions as they are called: of a class, one object, made with the database. */
function makeFunctions({ mergeHandler, resolver }, db) {
  const handler = typeof mergeHandler === 'function' ? new mergeHandler(db) : mergeHandler || null
  if (typeof mergeHandler === 'function') checkHandler(handler)
  return { handler, resolver: resolver || null }
}

/** How many feeds and bytes a relay keeps, as far as it is said; null: it is none. */
function relayOf({ relay, apply, name }, key) {
  if (relay == null || relay === false) return null
  if (apply != null) throw wrong('a relay applies nothing: leave out apply')
  if (key == null && name == null) throw wrong('a relay needs the key of the database whose feeds it keeps')
  if (relay === true) return []
  const { maxFeeds = MAX_RELAY_FEEDS, maxBytes } = relay
  for (const limit of [maxFeeds, maxBytes ?? 0]) {
    if (!Number.isSafeInteger(limit) || limit < 0)
      throw wrong('maxFeeds and maxBytes of a relay are whole numbers')
  }
  return maxBytes === undefined ? [maxFeeds] : [maxFeeds, maxBytes]
}

/** What depends on how it merges. */
function modeOf(options) {
  const handlers = handlersOf(options)
  const [keys, values] = handlers === null ? ['utf-8', 'json'] : ['binary', 'binary']
  return {
    handlers,
    keyEncoding: resolveEncoding(options.keyEncoding ?? keys, 'keyEncoding'),
    valueEncoding: resolveEncoding(options.valueEncoding ?? values, 'valueEncoding'),
    optimistic: Boolean(options.optimistic),
    ackInterval: options.ackInterval ?? ACK_INTERVAL_MS
  }
}

/** The functions of apply mode; null: merge mode. */
function handlersOf(options) {
  const given = HANDLERS.filter((name) => options[name] != null)
  for (const name of given) {
    if (typeof options[name] !== 'function') throw wrong(`${name} must be a function`)
  }
  if (options.apply != null) return Object.fromEntries(HANDLERS.map((name) => [name, options[name] ?? null]))
  const alone = [...given, ...(options.optimistic ? ['optimistic'] : [])]
  if (alone.length > 0) throw wrong(`${alone.join(', ')} is for apply mode: pass apply too, or leave it out`)
  return null
}

function checkOptions(options) {
  if (typeof options !== 'object') throw wrong('options must be an object')
  for (const [name, message] of Object.entries(NOT_YET)) {
    if (options[name] != null && options[name] !== false) throw wrong(message)
  }
  const { name, writers } = options
  if (name != null && (typeof name !== 'string' || name === '')) throw wrong('name must be a text')
  if (writers != null && writers !== 'granted' && writers !== 'open') {
    throw wrong("writers must be 'granted' or 'open'")
  }
  checkTimes(options)
}

/** How many versions stay readable; 0: all; undefined: nothing is said. */
function keptVersions(history) {
  if (history == null) return undefined
  if (history === 'all') return 0
  const { versions } = history
  if (Number.isSafeInteger(versions) && versions > 0) return versions
  throw wrong("history must be 'all' or { versions }, a whole number, 1 or more")
}

function checkTimes({ maxDrift, ackInterval }) {
  if (maxDrift != null && !(maxDrift >= 0)) {
    throw wrong('maxDrift must be a number of milliseconds, 0 or more')
  }
  if (ackInterval != null && !(ackInterval >= 0 && ackInterval <= MAX_TIMER_MS)) {
    throw wrong('ackInterval must be a number of milliseconds, 0 to turn it off')
  }
}

function checkStorage(storage, isStore) {
  if (typeof storage === 'string' && storage !== '') return storage
  if (isStore(storage)) return storage
  throw wrong("storage must be the path of a directory, ':memory:', or a Store of this package")
}

/** @returns {{ key: Buffer, encryptionKey: Buffer | null }} */
function parseInvite(text) {
  if (typeof text !== 'string') throw wrong('an invite is the text that createInvite gave')
  const { key, encryptionKey } = translated(() => native.parseInvite(text))
  return { key, encryptionKey: encryptionKey ?? null }
}

/** The seed of a key pair: sodium's 64-byte secret keys begin with it. */
async function seedOf(keyPair) {
  if (keyPair === null) return undefined
  const { secretKey } = (await keyPair) ?? {}
  const bytes = secretKey instanceof Uint8Array ? Buffer.from(secretKey) : null
  if (bytes?.length === 64 || bytes?.length === 32) return bytes.subarray(0, 32)
  throw wrong('keyPair must be { publicKey, secretKey }, the secret key of 64 bytes')
}

const KEY_BYTES = 32

function parseSealing({ encryptionKey, encrypted }) {
  if (encrypted != null && typeof encrypted !== 'boolean') throw wrong('encrypted must be true or false')
  if (encrypted === false && encryptionKey != null) {
    throw wrong('encrypted: false and an encryptionKey contradict each other: leave out one')
  }
  return { encryptionKey: checkEncryptionKey(encryptionKey ?? null), encrypted: encrypted ?? null }
}

/** What can be said before a promise of it is kept. */
function checkEncryptionKey(encryptionKey) {
  const isPromise = typeof encryptionKey?.then === 'function'
  if (encryptionKey === null || isPromise || isKey(encryptionKey)) return encryptionKey
  throw wrong(`encryptionKey must be a Buffer of ${KEY_BYTES} bytes, or a promise of one`)
}

const isKey = (key) => key instanceof Uint8Array && key.length === KEY_BYTES

/**
 * The key a database is sealed with: its own, else its store's, unless it says that it is not encrypted.
 *
 * @returns {Promise<Buffer | undefined>}
 */
async function encryptionKeyOf({ encryptionKey, encrypted }, ofStore) {
  const key = await (encryptionKey ?? (encrypted === false ? null : ofStore))
  if (isKey(key)) return Buffer.from(key)
  if (key != null) throw wrong(`encryptionKey must be a Buffer of ${KEY_BYTES} bytes, or a promise of one`)
  if (encrypted !== true) return undefined
  const message = 'the database is to be encrypted: pass its encryptionKey, a Buffer of 32 random bytes'
  throw new MultiHyperbeeError('ERR_ENCRYPTION_KEY', message)
}

function wrong(message) {
  return new MultiHyperbeeError('ERR_OPTIONS', message)
}

module.exports = {
  checkEncryptionKey,
  encryptionKeyOf,
  keptVersions,
  makeFunctions,
  parseArguments,
  parseInvite,
  seedOf
}
