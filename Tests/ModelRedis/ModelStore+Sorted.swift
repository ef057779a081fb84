extension ModelStore {
  static let sortedSets: [String: Command] = [
    "zadd": write(-4, add),
    "zincrby": write(4) { (store, words) throws(ModelFault) in
      var all = try store.sorted(words[1])
      let score = (all[words[3]] ?? 0) + (try words.double(2))
      all[words[3]] = score
      store.put(words[1], .sorted(all))
      return .bytes(text(of: score))
    },
    "zrem": write(-3) { (store, words) throws(ModelFault) in
      var all = try store.sorted(words[1])
      let before = all.count
      for member in words.from(2) { all[member] = nil }
      if all.count < before { store.put(words[1], .sorted(all)) }
      return .integer(Int64(before - all.count))
    },
    "zscore": read(3) { (store, words) throws(ModelFault) in
      .optional(try store.sorted(words[1])[words[2]].map { text(of: $0) })
    },
    "zcard": read(2) { (store, words) throws(ModelFault) in .integer(Int64(try store.sorted(words[1]).count)) },
    "zcount": read(4) { (store, words) throws(ModelFault) in
      let (least, most) = (try Bound(words[2]), try Bound(words[3]))
      return .integer(Int64(try store.sorted(words[1]).values.count { least.isBelow($0) && most.isAbove($0) }))
    },
    "zrank": read(3) { (store, words) throws(ModelFault) in
      inOrder(try store.sorted(words[1])).firstIndex { $0.member == words[2] }.map { .integer(Int64($0)) } ?? .null
    },
    "zrange": read(-4, range),
    "zrevrange": read(-4) { (store, words) throws(ModelFault) in
      let all = Array(inOrder(try store.sorted(words[1])).reversed())
      guard let places = slice(try words.integer(2), try words.integer(3), of: all.count) else {
        return .list([ModelReply]())
      }
      return members(all[places], withScores: words.keyword(4) == "WITHSCORES")
    },
    "zrangebyscore": read(-4, rangeByScore),
    "zremrangebyscore": write(4) { (store, words) throws(ModelFault) in
      let (least, most) = (try Bound(words[2]), try Bound(words[3]))
      return store.keep(words[1], try store.sorted(words[1])) { _, score in
        !(least.isBelow(score) && most.isAbove(score))
      }
    },
    "zremrangebyrank": write(4) { (store, words) throws(ModelFault) in
      let all = try store.sorted(words[1])
      let gone = slice(try words.integer(2), try words.integer(3), of: all.count)
      let names = Set(gone.map { inOrder(all)[$0].map(\.member) } ?? [])
      return store.keep(words[1], all) { member, _ in !names.contains(member) }
    },
    "zpopmin": write(-2) { (store, words) throws(ModelFault) in
      var all = try store.sorted(words[1])
      let first = inOrder(all).prefix(words.count > 2 ? Int(try words.integer(2)) : 1)
      for one in first { all[one.member] = nil }
      if !first.isEmpty { store.put(words[1], .sorted(all)) }
      return members(first, withScores: true)
    },
  ]

  typealias Scored = (member: [UInt8], score: Double)

  static func inOrder(_ all: [[UInt8]: Double]) -> [Scored] {
    all.map { (member: $0.key, score: $0.value) }.sorted {
      $0.score != $1.score ? $0.score < $1.score : $0.member.lexicographicallyPrecedes($1.member)
    }
  }

  private func keep(
    _ key: [UInt8], _ all: [[UInt8]: Double], where isKept: ([UInt8], Double) -> Bool
  ) -> ModelReply {
    let kept = all.filter { isKept($0.key, $0.value) }
    if kept.count < all.count { put(key, .sorted(kept)) }
    return .integer(Int64(all.count - kept.count))
  }

  /// A score as Redis writes it: the fewest digits that name it.
  static func text(of score: Double) -> [UInt8] {
    if score.isInfinite { return Array((score < 0 ? "-inf" : "inf").utf8) }
    if score == score.rounded(), abs(score) < 1e17 { return Array(String(Int64(score)).utf8) }
    return Array("\(score)".utf8)
  }

  private static func members(_ all: some Sequence<Scored>, withScores: Bool) -> ModelReply {
    .list(all.flatMap { withScores ? [$0.member, text(of: $0.score)] : [$0.member] })
  }

  private static func add(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    var all = try store.sorted(words[1])
    var at = 2
    var options: Set<String> = []
    while ["NX", "XX", "GT", "LT", "CH", "INCR"].contains(words.keyword(at)) {
      options.insert(words.keyword(at))
      at += 1
    }
    guard !options.contains("INCR"), (words.count - at) % 2 == 0, words.count > at else { throw .syntax }
    var (added, changed) = (Int64(0), Int64(0))
    for place in stride(from: at, to: words.count, by: 2) {
      let (score, member) = (try words.double(place), words[place + 1])
      if let old = all[member] {
        let isWanted =
          !options.contains("NX") && (!options.contains("GT") || score > old)
          && (!options.contains("LT") || score < old)
        if isWanted, score != old {
          all[member] = score
          changed += 1
        }
      } else if !options.contains("XX") {
        all[member] = score
        added += 1
      }
    }
    if added + changed > 0 { store.put(words[1], .sorted(all)) }
    return .integer(options.contains("CH") ? added + changed : added)
  }

  /// An end of a range of scores.
  struct Bound {
    private let score: Double
    private let isOpen: Bool

    init(_ bytes: [UInt8]) throws(ModelFault) {
      isOpen = bytes.first == UInt8(ascii: "(")
      let words = ModelArguments(all: [isOpen ? Array(bytes.dropFirst()) : bytes])
      do throws(ModelFault) {
        score = try words.double(0)
      } catch {
        throw ModelFault("ERR min or max is not a float")
      }
    }

    func isBelow(_ other: Double) -> Bool { isOpen ? score < other : score <= other }
    func isAbove(_ other: Double) -> Bool { isOpen ? score > other : score >= other }
  }

  private static func range(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    var options: Set<String> = []
    for at in 4..<max(4, words.count) { options.insert(words.keyword(at)) }
    guard options.isSubset(of: ["REV", "WITHSCORES"]) else { return try rangeByScore(store, words) }
    var all = inOrder(try store.sorted(words[1]))
    if options.contains("REV") { all.reverse() }
    guard let places = slice(try words.integer(2), try words.integer(3), of: all.count) else {
      return .list([ModelReply]())
    }
    return members(all[places], withScores: options.contains("WITHSCORES"))
  }

  private static func rangeByScore(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    let (least, most) = (try Bound(words[2]), try Bound(words[3]))
    var found = inOrder(try store.sorted(words[1])).filter { least.isBelow($0.score) && most.isAbove($0.score) }
    var withScores = false
    var at = 4
    while at < words.count {
      switch words.keyword(at) {
      case "BYSCORE": break
      case "WITHSCORES": withScores = true
      case "LIMIT":
        let (skipped, count) = (try words.integer(at + 1), try words.integer(at + 2))
        found = Array(found.dropFirst(Int(skipped)).prefix(count < 0 ? .max : Int(count)))
        at += 2
      default: throw .syntax
      }
      at += 1
    }
    return members(found, withScores: withScores)
  }
}
