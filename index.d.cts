// What `require('multi-hyperbee')` gives: the class itself, and everything else as its properties.

import all = require('./index.js')

declare class MultiHyperbee<K = string, V = any> extends all.MultiHyperbee<K, V> {}

declare namespace MultiHyperbee {
  export import AccessRequest = all.AccessRequest
  export import AppliedEntry = all.AppliedEntry
  export import ApplyNode = all.ApplyNode
  export import Autobee = all.Autobee
  export import Batch = all.Batch
  export import Bee = all.Bee
  export import CompactEncoding = all.CompactEncoding
  export import Conflict = all.Conflict
  export import Diff = all.Diff
  export import DiffEntry = all.DiffEntry
  export import Difference = all.Difference
  export import DiffPair = all.DiffPair
  export import DiffStreamOptions = all.DiffStreamOptions
  export import Dot = all.Dot
  export import Encoding = all.Encoding
  export import EncodingName = all.EncodingName
  export import EncodingOption = all.EncodingOption
  export import Encodings = all.Encodings
  export import Entry = all.Entry
  export import EntryStream = all.EntryStream
  export import EntryWatcher = all.EntryWatcher
  export import ErrorCode = all.ErrorCode
  export import Feed = all.Feed
  export import FeedEvents = all.FeedEvents
  export import FeedProgress = all.FeedProgress
  export import GeneratedDiff = all.GeneratedDiff
  export import Finality = all.Finality
  export import Header = all.Header
  export import HistoryEntry = all.HistoryEntry
  export import HistoryOptions = all.HistoryOptions
  export import Host = all.Host
  export import InviteOptions = all.InviteOptions
  export import Key = all.Key
  export import KeyPair = all.KeyPair
  export import MergeContext = all.MergeContext
  export import MergeHandler = all.MergeHandler
  export import MergeHandlerOption = all.MergeHandlerOption
  export import Moment = all.Moment
  export import MultiHyperbeeError = all.MultiHyperbeeError
  export import MultiHyperbeeEvents = all.MultiHyperbeeEvents
  export import Options = all.Options
  export import Peer = all.Peer
  export import BlockOptions = all.BlockOptions
  export import DiffView = all.DiffView
  export import DiffWatchOptions = all.DiffWatchOptions
  export import DiffWatcher = all.DiffWatcher
  export import Range = all.Range
  export import Read = all.Read
  export import ReadStreamOptions = all.ReadStreamOptions
  export import Receipt = all.Receipt
  export import ReplicateOptions = all.ReplicateOptions
  export import ReplicationStream = all.ReplicationStream
  export import RequestAccessOptions = all.RequestAccessOptions
  export import Stats = all.Stats
  export import Resolver = all.Resolver
  export import ResolverEntry = all.ResolverEntry
  export import Status = all.Status
  export import Store = all.Store
  export import Stored = all.Stored
  export import SubOptions = all.SubOptions
  export import Verified = all.Verified
  export import VerifyOptions = all.VerifyOptions
  export import View = all.View
  export import ViewChange = all.ViewChange
  export import ViewPosition = all.ViewPosition
  export import WaitOptions = all.WaitOptions
  export import Watcher = all.Watcher
  export import WatchOptions = all.WatchOptions
  export import WorkingBatch = all.WorkingBatch
  export import WorkingView = all.WorkingView
  export import WorkingWriteOptions = all.WorkingWriteOptions
  export import WriteBatch = all.WriteBatch
  export import WriteOptions = all.WriteOptions
  export import Writer = all.Writer
}

export = MultiHyperbee
