'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { MultiHyperbee, directory } = require('./helpers.js')

const { bin } = require('../package.json')
const program = path.join(__dirname, '..', bin['multi-hyperbee'])

function command(...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

async function stored(t) {
  const folder = directory(t)
  const db = new MultiHyperbee(folder, { encrypted: false })
  await db.put('a', { text: 'the text of the first' })
  const key = db.local.key.toString('hex')
  await db.close()
  return { folder, file: path.join(folder, 'data.mdb'), key }
}

test('verify: a sound store, in words and for machines', async (t) => {
  const { folder, file } = await stored(t)
  const before = fs.readFileSync(file)
  const said = command('verify', folder)
  assert.deepEqual([said.status, said.stderr], [0, ''])
  assert.match(said.stdout, /^sound: \d+ pages, 1 feeds, 2 blocks, 1 databases, 1 keys\n$/)
  const report = JSON.parse(command('verify', folder, '--json').stdout)
  assert.deepEqual([report.ok, report.damages, report.keys], [true, [], 1])
  assert.deepEqual(fs.readFileSync(file), before, 'it reads only')
})

test('verify: what is damaged is named, and the exit code says it', async (t) => {
  const { folder, file, key } = await stored(t)
  const bytes = fs.readFileSync(file)
  const find = Buffer.from('"add":{"text":"the text of')
  let found = 0
  for (let at = bytes.indexOf(find); at !== -1; at = bytes.indexOf(find, at + 1), found++) bytes[at + 15] ^= 1
  assert.ok(found > 0, 'the layout has changed: nothing was damaged')
  fs.writeFileSync(file, bytes)
  const said = command('verify', folder)
  assert.equal(said.status, 1)
  assert.match(said.stdout, new RegExp(`damaged: .*table blocks-1, feed ${key}, seq 1`))
  const report = JSON.parse(command('verify', folder, '--json').stdout)
  assert.deepEqual([report.ok, report.damages[0].feed], [false, key])
  const mended = command('verify', folder, '--repair')
  assert.deepEqual([mended.status, mended.stderr], [0, ''])
  assert.match(mended.stdout, /\nmended: [^]*\nmended: \d+ pages/)
  assert.match(command('verify', folder).stdout, /^sound: /)
  assert.equal(command('backup', folder, `${folder}-2`, '--repair').status, 2)
})

test('verify: a damaged page', async (t) => {
  const { folder, file } = await stored(t)
  const bytes = fs.readFileSync(file)
  // Every page but the two that say what is committed: the header's type of page.
  for (let at = 3 * 4096; at < bytes.length; at += 4096) bytes[at + 10] ^= 0xff
  fs.writeFileSync(file, bytes)
  const { status, stdout, stderr } = command('verify', folder)
  assert.ok(status === 1 || status === 2, `${status} ${stderr}`)
  assert.match(stdout + stderr, /damaged|ERR_CORRUPT/)
})

test('backup: a copy that opens, and never over a store', async (t) => {
  const { folder } = await stored(t)
  const target = path.join(directory(t), 'copy')
  assert.deepEqual(command('backup', folder, target), {
    status: 0,
    stdout: `copied to ${target}\n`,
    stderr: ''
  })
  assert.equal(command('verify', target).status, 0)
  const again = command('backup', folder, target)
  assert.equal(again.status, 2)
  assert.match(again.stderr, /^ERR_/)
})

test('compact: the file is smaller, and all is there', async (t) => {
  const { folder } = await stored(t)
  const db = new MultiHyperbee(folder)
  for (let n = 0; n < 200; n++) await db.put('k', { n, text: 'x'.repeat(1000) })
  await db.compact({ history: { versions: 1 } })
  await db.close()
  const { before, after } = JSON.parse(command('compact', folder, '--json').stdout)
  assert.ok(after < before, `${before} ${after}`)
  assert.match(command('compact', folder).stdout, /^from \d+ to \d+ bytes\n$/)
  const again = new MultiHyperbee(folder)
  t.after(() => again.close())
  assert.equal((await again.get('k')).value.n, 199)
  assert.equal((await again.store.verify()).ok, true)
})

test('what cannot be done says why, with exit code 2', async (t) => {
  const missing = path.join(directory(t), 'none')
  for (const [args, message] of [
    [[], null],
    [['verify'], /usage: multi-hyperbee verify DIRECTORY/],
    [['frobnicate'], /no command frobnicate/],
    [['toString'], /no command toString/],
    [['verify', missing], /ERR_STORE_OPEN/],
    [['verify', '--repair', missing], /ERR_STORE_OPEN/],
    [['backup', missing, `${missing}2`], /ERR_STORE_OPEN/],
    [['compact', missing], /ERR_STORE_OPEN/],
    [['verify', missing, '--frob'], /--frob/]
  ]) {
    const { status, stdout, stderr } = command(...args)
    assert.equal(status, 2, args.join(' '))
    if (message === null) assert.match(stdout, /usage/)
    else assert.match(stderr, message)
  }
  assert.ok(!fs.existsSync(missing), 'nothing was made')
  assert.deepEqual([command('--help').status, command('-h').stderr], [0, ''])
})
