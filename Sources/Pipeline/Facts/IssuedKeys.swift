// The keys that a cluster has made: a million of them in less than a hundred bytes each, and one of them changes without
// the others being touched.
//
// They are dealt by a mix of their ids to shards of some 256, each sorted and immutable; a change replaces one shard (16
// KB) and the list of them. Loops share all of it: a table of each loop's own would cost as many times as there are loops,
// a log with a base would have to be rebuilt again and again. A key is looked for by its id, which its text holds; its
// digest is compared then. Since ids are random, their mix says nearly where in its shard one lies.

import Core
import Crypto

/// The keys of a cluster, as loops look at them. Immutable.
public final class IssuedKeys: Sendable {
  /// What loops need of a key.
  struct Entry: BitwiseCopyable {
    var digest: Digest
    var version: UInt64
    var created: UInt32
    var notBefore: UInt32
    var expires: UInt32
    /// The consumer's number, and behind its two highest bits the state.
    private var consumerAndState: UInt32

    init(_ key: IssuedKey, consumer: Int32) {
      digest = key.digest
      version = key.version
      created = key.created
      notBefore = key.notBefore
      expires = key.expires
      consumerAndState = UInt32(bitPattern: consumer) | UInt32(key.state.rawValue) << 30
    }

    var consumer: Int32 { Int32(bitPattern: consumerAndState & 0x3fff_ffff) }
    var state: IssuedKey.State { IssuedKey.State(rawValue: UInt8(consumerAndState >> 30)) ?? .deleted }

    /// Whether it can be used at a second.
    @inline(__always)
    func isValid(at seconds: UInt32) -> Bool {
      consumerAndState >> 30 == 0 && notBefore <= seconds && seconds < expires
    }

    /// Whether this record holds against `other` of the same key.
    func precedes(_ other: Entry) -> Bool {
      if version != other.version { return version > other.version }
      // Two that were made in the same moment: whichever allows less.
      if state != other.state { return state.rawValue > other.state.rawValue }
      if expires != other.expires { return expires < other.expires }
      if notBefore != other.notBefore { return notBefore > other.notBefore }
      return digest.words.0 < other.digest.words.0
    }
  }

  /// How full shards are before there are twice as many.
  static let shardLimit = 512

  let shards: ContiguousArray<KeyShard>
  /// Where the shards lie: one look less than through the objects, which keep them.
  private let places: ContiguousArray<KeyShard.Place>
  let consumers: KeyConsumers
  /// How many keys there are, those included that are deleted and not yet forgotten.
  public let count: Int
  /// Changes whenever an id has got another secret, which nobody does on purpose.
  let secretChanges: UInt32

  init(shards: ContiguousArray<KeyShard>, consumers: KeyConsumers, count: Int, secretChanges: UInt32) {
    self.shards = shards
    places = ContiguousArray(shards.map(\.place))
    self.consumers = consumers
    self.count = count
    self.secretChanges = secretChanges
  }

  /// No keys.
  public convenience init() { self.init(shards: [KeyShard()], consumers: KeyConsumers(), count: 0, secretChanges: 0) }

  /// Spreads ids, one to one: odd, so that ``id(of:)`` has an inverse to multiply by.
  @inline(__always)
  static func mix(_ id: KeyID) -> UInt64 { id.number &* 0x9e37_79b9_7f4a_7c15 }

  static func id(of mix: UInt64) -> KeyID? { KeyID(number: mix &* 0xf1de_83e1_9937_733d) }

  private var shardBits: Int { shards.count.trailingZeroBitCount }

  @inline(__always)
  func shardNumber(of mix: UInt64) -> Int {
    let bits = shardBits
    return bits == 0 ? 0 : Int(truncatingIfNeeded: mix &>> UInt64(64 &- bits))
  }

  /// What there is of an id.
  @inline(__always)
  func entry(of id: KeyID) -> Entry? { entry(at: locate(id)) }

  /// Where to look for an id.
  struct Location: BitwiseCopyable {
    fileprivate let mix: UInt64
    fileprivate let place: KeyShard.Place
    fileprivate let start: Int
  }

  /// Where to look for an id; has what there is of it fetched from memory, without waiting for it. Some 10 ns.
  @inline(__always)
  func locate(_ id: KeyID) -> Location {
    let mix = Self.mix(id)
    let place = places[shardNumber(of: mix)]
    return Location(mix: mix, place: place, start: place.start(of: mix, sharing: shardBits))
  }

  /// What there is at a location, which this object must have told.
  @inline(__always)
  func entry(at location: Location) -> Entry? { location.place.entry(of: location.mix, from: location.start) }

  /// Whether this is the digest of a key that can be used at a second: a look at the table alone.
  public func isValid(_ id: KeyID, _ digest: Digest, at seconds: UInt32) -> Bool {
    guard let entry = entry(of: id) else { return false }
    return entry.digest == digest && entry.isValid(at: seconds)
  }

  /// The whole record of an id; nil where there is none.
  public func key(_ id: KeyID) -> IssuedKey? { entry(of: id).map { key(id, $0) } }

  private func key(_ id: KeyID, _ entry: Entry) -> IssuedKey {
    IssuedKey(
      id: id, version: entry.version, digest: entry.digest, consumer: consumers.consumer(entry.consumer),
      state: entry.state, created: entry.created, notBefore: entry.notBefore, expires: entry.expires)
  }

  /// Hands out keys in an order that is the same on every node, from behind `cursor` on (0: from the first), until `body`
  /// answers false. `body` is told the cursor of each.
  public func forEach(after cursor: UInt64 = 0, _ body: (UInt64, IssuedKey) -> Bool) {
    for number in shardNumber(of: cursor)..<shards.count {
      let shard = shards[number]
      for index in 0..<shard.count {
        let found = shard[index]
        guard found.mix > cursor, let id = Self.id(of: found.mix) else { continue }
        if !body(found.mix, key(id, found.entry)) { return }
      }
    }
  }

  /// The same from behind a key on, nil: from the first.
  public func forEach(after id: KeyID?, _ body: (IssuedKey) -> Bool) {
    forEach(after: id.map { Self.mix($0) } ?? 0) { body($1) }
  }

  /// The consumers that exist through keys of the cluster alone, or have. Linear in all consumers.
  public var ownConsumers: [String] { consumers.ownNames }

  /// Those of a tenant, in no order. Linear in all consumers.
  public func ownConsumers(ofTenant tenant: String) -> Set<String> { consumers.ownNames(ofTenant: tenant) }

  /// Whether somebody else than this tenant has, or has had, a consumer of this name through keys of the cluster alone. Linear
  /// in all consumers.
  public func hasOwnConsumer(named name: String, otherThan tenant: String) -> Bool {
    consumers.hasOwn(named: name, otherThan: tenant)
  }

  /// Bytes of memory, as far as they grow with the number of keys.
  public var byteCount: Int {
    shards.reduce(0) { $0 + $1.byteCount } + consumers.byteCount
  }
}

/// All keys of a cluster as they change: one writer, which makes a new ``IssuedKeys`` whenever it has something new.
public struct IssuedKeyBook: Sendable {
  /// What loops look at.
  public private(set) var current = IssuedKeys()
  private var index = KeyConsumers.Index()

  /// An empty book.
  public init() {}

  /// Bytes of memory, those of ``current`` included.
  public var byteCount: Int { current.byteCount + index.byteCount }

  /// Takes in records; returns those that were news. Costs a shard for each that has some, so many at once cost less.
  public mutating func put(_ keys: [IssuedKey]) -> [IssuedKey] {
    var consumers = current.consumers
    var secretChanges = current.secretChanges
    var news: [IssuedKey] = []
    var found: [KeyShard.Key] = []
    for key in keys {
      let old = current.entry(of: key.id)
      let candidate = IssuedKeys.Entry(key, consumer: 0)
      if let old, !candidate.precedes(old) { continue }
      if let old, old.digest != key.digest { secretChanges &+= 1 }
      let number = index.number(of: key.consumer, in: &consumers)
      precondition(number < 1 << 30, "more consumers than numbers")
      found.append(
        KeyShard.Key(mix: IssuedKeys.mix(key.id), entry: IssuedKeys.Entry(key, consumer: number)))
      news.append(key)
    }
    guard !found.isEmpty else { return [] }
    replace(found.sorted { $0.mix < $1.mix }, consumers, secretChanges)
    return news
  }

  /// Drops what was deleted before this version; returns how many. Linear in all keys, and changes nothing where there is
  /// nothing to drop.
  public mutating func forget(deletedBefore version: UInt64) -> Int {
    var shards = current.shards
    let bits = shards.count.trailingZeroBitCount
    var dropped = 0
    for number in shards.indices {
      let shard = shards[number]
      let kept = shard.keys.filter { $0.entry.state != .deleted || $0.entry.version >= version }
      guard kept.count < shard.count else { continue }
      dropped += shard.count - kept.count
      shards[number] = KeyShard(kept, sharing: bits)
    }
    guard dropped > 0 else { return 0 }
    current = IssuedKeys(
      shards: shards, consumers: current.consumers, count: current.count - dropped,
      secretChanges: current.secretChanges)
    return dropped
  }

  /// Replaces the shards that `found` (sorted; of equal ones the strongest holds) belongs to.
  private mutating func replace(
    _ found: [KeyShard.Key], _ consumers: KeyConsumers, _ secretChanges: UInt32
  ) {
    var shards = current.shards
    while current.count + found.count > shards.count * IssuedKeys.shardLimit { shards = Self.split(shards) }
    let bits = shards.count.trailingZeroBitCount
    func number(_ mix: UInt64) -> Int { bits == 0 ? 0 : Int(mix >> UInt64(64 - bits)) }
    var count = current.count
    var next = 0
    while next < found.count {
      let target = number(found[next].mix)
      var end = next
      while end < found.count && number(found[end].mix) == target { end += 1 }
      let merged = KeyShard(Self.merged(shards[target], found[next..<end]), sharing: bits)
      count += merged.count - shards[target].count
      shards[target] = merged
      next = end
    }
    current = IssuedKeys(shards: shards, consumers: consumers, count: count, secretChanges: secretChanges)
  }

  private static func merged(_ shard: KeyShard, _ found: ArraySlice<KeyShard.Key>) -> [KeyShard.Key] {
    var result: [KeyShard.Key] = []
    result.reserveCapacity(shard.count + found.count)
    func append(_ key: KeyShard.Key) {
      if let last = result.last, last.mix == key.mix {
        if key.entry.precedes(last.entry) { result[result.count - 1] = key }
      } else {
        result.append(key)
      }
    }
    var place = 0
    for new in found {
      while place < shard.count && shard[place].mix <= new.mix {
        append(shard[place])
        place += 1
      }
      append(new)
    }
    while place < shard.count {
      append(shard[place])
      place += 1
    }
    return result
  }

  /// Twice as many shards.
  private static func split(_ shards: ContiguousArray<KeyShard>) -> ContiguousArray<KeyShard> {
    let bits = shards.count.trailingZeroBitCount + 1
    var result: ContiguousArray<KeyShard> = []
    result.reserveCapacity(shards.count * 2)
    for shard in shards {
      let keys = shard.keys
      let middle = keys.firstIndex { $0.mix >> UInt64(64 - bits) & 1 == 1 } ?? keys.count
      for half in [keys[..<middle], keys[middle...]] { result.append(KeyShard(Array(half), sharing: bits)) }
    }
    return result
  }
}
