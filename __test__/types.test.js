'use strict'

// index.d.ts is written by hand: here it is held against the compiler and against the classes themselves.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { EventEmitter } = require('node:events')
const { spawnSync } = require('node:child_process')
const { MultiHyperbee, Store, Feed } = require('..')
const { Bee } = require('../lib/bee.js')
const { View } = require('../lib/view.js')
const { DiffView } = require('../lib/diff-view.js')
const { Peer } = require('../lib/peer.js')

const declarations = fs.readFileSync(path.join(__dirname, '..', 'index.d.ts'), 'utf8')

test('the examples compile under strict, and those that must not, do not', () => {
  const tsc = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
  const project = path.join(__dirname, 'types', 'tsconfig.json')
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', project], { encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})

test('index.d.cts names all that index.d.ts exports', () => {
  const exported = [...declarations.matchAll(/^export (?:interface|type|class) (\w+)/gm)].map(
    (match) => match[1]
  )
  const required = fs.readFileSync(path.join(__dirname, '..', 'index.d.cts'), 'utf8')
  const named = [...required.matchAll(/^ {2}export import (\w+) = all\.\1$/gm)].map((match) => match[1])
  assert.deepEqual(named.sort(), [...exported.filter((name) => name !== 'MultiHyperbee'), 'Autobee'].sort())
})

/** The members of a class or interface as declared, those it extends included. */
function declared(name) {
  const start = declarations.search(new RegExp(`^export (?:class|interface) ${name}\\b`, 'm'))
  assert.notEqual(start, -1, `${name} is declared`)
  const text = declarations.slice(start, declarations.indexOf('\n}\n', start))
  const members = [...text.matchAll(/^ {2}(?:readonly )?([a-z]\w*)[?<(:]/gm)].map((match) => match[1])
  const parent = /^export interface \w+(?:<[^{]*>)? extends (\w+)/.exec(text)
  const inherited = parent === null ? [] : declared(parent[1])
  return new Set([...members, ...inherited].filter((member) => member !== 'constructor'))
}

/** The methods and getters of a class that are nobody's business but its users'. */
function methods(Class) {
  const found = new Set()
  for (let at = Class.prototype; at !== null && at.constructor !== EventEmitter && at !== Object.prototype;) {
    for (const name of Object.getOwnPropertyNames(at)) {
      if (name !== 'constructor' && !name.startsWith('_')) found.add(name)
    }
    at = Object.getPrototypeOf(at)
  }
  return found
}

/** An object of each class, for members that are no methods. */
async function instances(t) {
  const store = new Store(':memory:')
  t.after(() => store.close())
  const db = new MultiHyperbee(store)
  await db.ready()
  const peer = await db.addPeer(Buffer.alloc(32, 9))
  const batch = db.batch()
  t.after(() => batch.close())
  return {
    MultiHyperbee: [db, MultiHyperbee],
    Store: [store, Store],
    Feed: [db.local, Feed],
    Bee: [db.sub('x'), Bee],
    View: [db.snapshot(), View],
    DiffView: [peer.snapshot(), DiffView],
    Peer: [peer, Peer],
    Batch: [batch, batch.constructor]
  }
}

test('every public method is declared, and everything declared is there', async (t) => {
  for (const [name, [object, Class]] of Object.entries(await instances(t))) {
    const said = declared(name)
    assert.ok(object instanceof Class, name)
    for (const member of methods(Class)) assert.ok(said.has(member), `${name}.${member} is not declared`)
    for (const member of said) assert.ok(member in object, `${name}.${member} is declared and not there`)
  }
})
