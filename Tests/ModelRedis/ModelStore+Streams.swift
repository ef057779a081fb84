extension ModelStore {
  static let streams: [String: Command] = [
    "xadd": write(-5, append),
    "xlen": read(2) { (store, words) throws(ModelFault) in
      .integer(Int64(try store.stream(words[1])?.entries.count ?? 0))
    },
    "xrange": read(-4) { (store, words) throws(ModelFault) in try store.entries(words, isReversed: false) },
    "xrevrange": read(-4) { (store, words) throws(ModelFault) in try store.entries(words, isReversed: true) },
    "xread": read(-4, readStreams),
    "xtrim": write(-4) { (store, words) throws(ModelFault) in
      guard var stream = try store.stream(words[1]) else { return .integer(0) }
      var at = 2
      guard let trimmed = try Trim(words, &at) else { throw .syntax }
      let before = stream.entries.count
      trimmed.apply(&stream)
      if stream.entries.count < before { store.put(words[1], .stream(stream)) }
      return .integer(Int64(before - stream.entries.count))
    },
    "xdel": write(-3) { (store, words) throws(ModelFault) in
      guard var stream = try store.stream(words[1]) else { return .integer(0) }
      let before = stream.entries.count
      for bytes in words.from(2) {
        let id = try Keyspace.StreamID(bytes, missing: 0)
        stream.entries.removeAll { $0.id == id }
      }
      if stream.entries.count < before { store.put(words[1], .stream(stream)) }
      return .integer(Int64(before - stream.entries.count))
    },
  ]

  /// Where a stream is cut off. `~` cuts exactly here; Redis may leave some more, which nobody may count on.
  private struct Trim {
    var length: Int?
    var least: Keyspace.StreamID?

    init?(_ words: ModelArguments, _ at: inout Int) throws(ModelFault) {
      let word = words.keyword(at)
      guard word == "MAXLEN" || word == "MINID" else { return nil }
      at += 1
      if ["~", "="].contains(words.keyword(at)) { at += 1 }
      guard at < words.count else { throw .syntax }
      if word == "MAXLEN" {
        length = Int(try words.integer(at))
      } else {
        least = try Keyspace.StreamID(words[at], missing: 0)
      }
      at += 1
      if words.keyword(at) == "LIMIT" { at += 2 }
    }

    func apply(_ stream: inout Keyspace.Stream) {
      if let length, stream.entries.count > length { stream.entries.removeFirst(stream.entries.count - length) }
      if let least { stream.entries.removeAll { $0.id < least } }
    }
  }

  private static func append(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    var at = 2
    var isKept = false
    if words.keyword(at) == "NOMKSTREAM" {
      isKept = true
      at += 1
    }
    let trim = try Trim(words, &at)
    guard at < words.count, (words.count - at - 1) % 2 == 0, words.count > at + 1 else {
      throw ModelFault("ERR wrong number of arguments for 'xadd' command")
    }
    let old = try store.stream(words[1])
    if old == nil && isKept { return .null }
    var stream = old ?? Keyspace.Stream()
    let id = try nextID(words.text(at), behind: stream.last, UInt64(store.milliseconds))
    if id == .least { throw ModelFault("ERR The ID specified in XADD must be greater than 0-0") }
    guard id > stream.last else {
      throw ModelFault("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    }
    stream.entries.append((id, Array(words.from(at + 1))))
    stream.last = id
    trim?.apply(&stream)
    store.put(words[1], .stream(stream))
    return .bytes(id.text)
  }

  private static func nextID(
    _ text: String, behind last: Keyspace.StreamID, _ now: UInt64
  ) throws(ModelFault) -> Keyspace.StreamID {
    func following(_ milliseconds: UInt64) -> Keyspace.StreamID {
      Keyspace.StreamID(
        milliseconds: milliseconds, sequence: milliseconds == last.milliseconds ? last.sequence + 1 : 0)
    }
    if text == "*" { return following(max(now, last.milliseconds)) }
    if text.hasSuffix("-*") {
      guard let milliseconds = UInt64(text.dropLast(2)) else { throw invalidID }
      return following(milliseconds)
    }
    return try Keyspace.StreamID(Array(text.utf8), missing: 0)
  }

  fileprivate static let invalidID = ModelFault("ERR Invalid stream ID specified as stream command argument")

  private static func reply(_ entries: some Sequence<(id: Keyspace.StreamID, fields: [[UInt8]])>) -> ModelReply {
    .list(entries.map { .list([.bytes($0.id.text), .list($0.fields)]) })
  }

  private func entries(_ words: ModelArguments, isReversed: Bool) throws(ModelFault) -> ModelReply {
    let least = try Keyspace.StreamID(bound: words[isReversed ? 3 : 2], isLast: false)
    let most = try Keyspace.StreamID(bound: words[isReversed ? 2 : 3], isLast: true)
    var count = Int.max
    if words.keyword(4) == "COUNT" { count = Int(try words.integer(5)) } else if words.count > 4 { throw .syntax }
    let found = (try stream(words[1])?.entries ?? []).filter { $0.id >= least && $0.id <= most }
    return Self.reply(isReversed ? Array(found.reversed().prefix(count)) : Array(found.prefix(count)))
  }

  private static func readStreams(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    var at = 1
    var count = Int.max
    while at < words.count, words.keyword(at) != "STREAMS" {
      // To wait is not modelled: nobody may block a connection that others use.
      guard words.keyword(at) == "COUNT" else { throw .syntax }
      count = Int(try words.integer(at + 1))
      at += 2
    }
    let rest = Array(words.from(at + 1))
    guard !rest.isEmpty, rest.count % 2 == 0 else { throw .syntax }
    var all: [ModelReply] = []
    for (key, start) in zip(rest[..<(rest.count / 2)], rest[(rest.count / 2)...]) {
      guard let stream = try store.stream(key), start != Array("$".utf8) else { continue }
      let id = try Keyspace.StreamID(start, missing: 0)
      let found = stream.entries.filter { $0.id > id }.prefix(count)
      if !found.isEmpty { all.append(.list([.bytes(key), reply(found)])) }
    }
    return all.isEmpty ? .nullList : .list(all)
  }
}

extension Keyspace.StreamID {
  init(_ bytes: [UInt8], missing: UInt64) throws(ModelFault) {
    let parts = String(decoding: bytes, as: UTF8.self).split(separator: "-", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let milliseconds = UInt64(parts[0]),
      let sequence = parts.count == 1 ? missing : UInt64(parts[1])
    else { throw ModelStore.invalidID }
    self.init(milliseconds: milliseconds, sequence: sequence)
  }

  /// An end of a range: `-`, `+`, an id, or one that is left out with a parenthesis.
  fileprivate init(bound: [UInt8], isLast: Bool) throws(ModelFault) {
    switch String(decoding: bound, as: UTF8.self) {
    case "-": self = .least
    case "+": self = .most
    case let text where text.hasPrefix("("):
      let id = try Self(Array(text.dropFirst().utf8), missing: isLast ? .max : 0)
      self.init(milliseconds: id.milliseconds, sequence: isLast ? id.sequence &- 1 : id.sequence &+ 1)
    case let text: try self.init(Array(text.utf8), missing: isLast ? .max : 0)
    }
  }
}
