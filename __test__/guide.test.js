'use strict'

// The guide's snippets, run in their order as one program.

const test = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { once } = require('node:events')
const { MultiHyperbee, directory, converge } = require('./helpers.js')

const GUIDE = path.join(__dirname, '..', 'docs', 'guide.md')
const AsyncFunction = (async () => {}).constructor

test('every snippet of the guide does what it says', { timeout: 60_000 }, async (t) => {
  const snippets = [...fs.readFileSync(GUIDE, 'utf8').matchAll(/^```js\n(.*?)^```$/gms)].map(
    (match) => match[1]
  )
  assert.ok(snippets.length > 10, `${snippets.length} snippets`)
  const hold = setInterval(() => {}, 1000)
  t.after(() => clearInterval(hold))
  const run = new AsyncFunction('MultiHyperbee', 'folder', 'assert', 'once', 'converged', snippets.join('\n'))
  await run(MultiHyperbee, directory(t), assert, once, converge)
})
