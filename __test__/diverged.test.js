'use strict'

// Replicas compare state hashes. A fault is planted where one would come from: in the file.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { once } = require('node:events')
const { directory, open, connect, converge } = require('./helpers.js')

/** Changes a text wherever it stands in the files of a closed store and not in a diff. Returns how often it did. */
function plant(folder, from, to) {
  let planted = 0
  for (const name of fs.readdirSync(folder)) {
    const file = path.join(folder, name)
    const bytes = fs.readFileSync(file)
    for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at + 1)) {
      if (bytes.subarray(at - 6, at).toString() === '"add":') continue
      bytes.write(to, at)
      planted++
    }
    fs.writeFileSync(file, bytes)
  }
  return planted
}

test('a planted fault raises diverged on both sides, with both hashes', async (t) => {
  const folder = directory(t)
  // What is sealed nobody changes unseen.
  const plain = { encrypted: false }
  const a = await open(t, ':memory:', plain)
  const { key } = a
  const first = await open(t, folder, { key, ...plain })
  await a.put('k', { planted: 'not-yet' })
  connect(a, first)
  await converge(a, first)
  await first.close()
  assert.ok(plant(folder, '{"planted":"not-yet"}', '{"planted":"indeed!"}') > 0)

  const b = await open(t, folder, { key, ...plain })
  assert.equal((await b.get('k')).value.planted, 'indeed!')
  const told = Promise.all([once(a, 'diverged'), once(b, 'diverged')])
  const [one, two] = connect(a, b)
  const [[here], [there]] = await told
  assert.deepEqual(here, { ours: await a.stateHash(), theirs: await b.stateHash(), peer: one })
  assert.deepEqual(there, { ours: here.theirs, theirs: here.ours, peer: two })
})
