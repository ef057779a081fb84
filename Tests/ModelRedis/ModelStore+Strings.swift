extension ModelStore {
  static let strings: [String: Command] = [
    "get": read(2) { (store, words) throws(ModelFault) in .optional(try store.string(words[1])) },
    "mget": read(-2) { (store, words) throws(ModelFault) in
      .list(
        words.from(1).map { key in
          if case .string(let bytes)? = store.entry(key)?.value { .bytes(bytes) } else { .null }
        })
    },
    "set": write(-3, set),
    "setnx": write(3) { (store, words) throws(ModelFault) in
      if store.entry(words[1]) != nil { return .integer(0) }
      store.put(words[1], .string(words[2]), expiry: nil)
      return .integer(1)
    },
    "setex": write(4) { (store, words) throws(ModelFault) in
      store.put(words[1], .string(words[3]), expiry: store.milliseconds + (try words.integer(2)) * 1000)
      return .ok
    },
    "psetex": write(4) { (store, words) throws(ModelFault) in
      store.put(words[1], .string(words[3]), expiry: store.milliseconds + (try words.integer(2)))
      return .ok
    },
    "getdel": write(2) { (store, words) throws(ModelFault) in
      let old = try store.string(words[1])
      if old != nil { store.put(words[1], nil) }
      return .optional(old)
    },
    "append": write(3) { (store, words) throws(ModelFault) in
      let new = (try store.string(words[1]) ?? []) + words[2]
      store.put(words[1], .string(new))
      return .integer(Int64(new.count))
    },
    "strlen": read(2) { (store, words) throws(ModelFault) in .integer(Int64(try store.string(words[1])?.count ?? 0)) },
    "setrange": write(4, setRange),
    "getrange": read(4, getRange),
    "substr": read(4, getRange),
    "incr": write(2) { (store, words) throws(ModelFault) in try store.increment(words[1], by: 1) },
    "decr": write(2) { (store, words) throws(ModelFault) in try store.increment(words[1], by: -1) },
    "incrby": write(3) { (store, words) throws(ModelFault) in try store.increment(words[1], by: try words.integer(2)) },
    "decrby": write(3) { (store, words) throws(ModelFault) in try store.increment(words[1], by: -(try words.integer(2)))
    },
  ]

  private func increment(_ key: [UInt8], by amount: Int64) throws(ModelFault) -> ModelReply {
    var number: Int64 = 0
    if let bytes = try string(key) { number = try ModelArguments.integer(bytes) }
    let (sum, overflow) = number.addingReportingOverflow(amount)
    if overflow { throw ModelFault("ERR increment or decrement would overflow") }
    put(key, .string(Array(String(sum).utf8)))
    return .integer(sum)
  }

  private static func set(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    let (key, value) = (words[1], words[2])
    var expiry: Int64?
    var (keeps, gets, ifMissing, ifThere) = (false, false, false, false)
    var at = 3
    while at < words.count {
      let option = words.keyword(at)
      switch option {
      case "NX": ifMissing = true
      case "XX": ifThere = true
      case "GET": gets = true
      case "KEEPTTL": keeps = true
      case "EX", "PX", "EXAT", "PXAT":
        at += 1
        let number = try words.integer(at)
        guard number > 0 else { throw ModelFault("ERR invalid expire time in 'set' command") }
        let milliseconds = option.hasPrefix("EX") ? number * 1000 : number
        expiry = option.hasSuffix("AT") ? milliseconds : store.milliseconds + milliseconds
      default: throw .syntax
      }
      at += 1
    }
    if ifMissing && ifThere { throw .syntax }
    let old = gets ? try store.string(key) : nil
    let isThere = store.entry(key) != nil
    if isThere ? ifMissing : ifThere { return gets ? .optional(old) : .null }
    store.put(key, .string(value), expiry: keeps ? store.entry(key)?.expiry : expiry)
    return gets ? .optional(old) : .ok
  }

  private static func setRange(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    let offset = try words.integer(2)
    guard offset >= 0 else { throw ModelFault("ERR offset is out of range") }
    var bytes = try store.string(words[1]) ?? []
    let new = words[3]
    guard !new.isEmpty else { return .integer(Int64(bytes.count)) }
    let end = Int(offset) + new.count
    if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
    bytes.replaceSubrange(Int(offset)..<end, with: new)
    store.put(words[1], .string(bytes))
    return .integer(Int64(bytes.count))
  }

  private static func getRange(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    let bytes = try store.string(words[1]) ?? []
    let (first, last) = (try words.integer(2), try words.integer(3))
    if first < 0, last < 0, first > last { return .bytes([]) }
    // Unlike everywhere else an end before the beginning is the beginning.
    guard let range = slice(first, last < 0 ? max(0, last + Int64(bytes.count)) : last, of: bytes.count) else {
      return .bytes([])
    }
    return .bytes(Array(bytes[range]))
  }

  /// What two places, counted from the end where they are negative, mean; nil where nothing lies between them.
  static func slice(_ first: Int64, _ last: Int64, of count: Int) -> Range<Int>? {
    let count = Int64(count)
    let first = max(0, first < 0 ? first + count : first)
    let last = min(count - 1, last < 0 ? last + count : last)
    return first <= last ? Int(first)..<Int(last + 1) : nil
  }

  // MARK: Keys

  static let keyCommands: [String: Command] = [
    "del": write(-2, delete),
    "unlink": write(-2, delete),
    "exists": read(-2) { (store, words) throws(ModelFault) in
      .integer(Int64(words.from(1).count { store.entry($0) != nil }))
    },
    "type": read(2) { (store, words) throws(ModelFault) in .status(store.entry(words[1])?.value.name ?? "none") },
    "persist": write(2) { (store, words) throws(ModelFault) in
      guard let entry = store.entry(words[1]), entry.expiry != nil else { return .integer(0) }
      store.put(words[1], entry.value, expiry: nil)
      return .integer(1)
    },
    "pexpireat": write(-3) { (store, words) throws(ModelFault) in try store.expire(words, 1, isRelative: false) },
    "expireat": write(-3) { (store, words) throws(ModelFault) in try store.expire(words, 1000, isRelative: false) },
    "pexpire": write(-3) { (store, words) throws(ModelFault) in try store.expire(words, 1, isRelative: true) },
    "expire": write(-3) { (store, words) throws(ModelFault) in try store.expire(words, 1000, isRelative: true) },
    "pttl": read(2) { (store, words) throws(ModelFault) in store.rest(words[1], 1) },
    "ttl": read(2) { (store, words) throws(ModelFault) in store.rest(words[1], 1000) },
    "pexpiretime": read(2) { (store, words) throws(ModelFault) in
      .integer(store.entry(words[1]).map { $0.expiry ?? -1 } ?? -2)
    },
    "keys": read(2) { (store, words) throws(ModelFault) in
      .list(store.keys.filter { matches($0[...], words[1][...]) })
    },
    "dbsize": read(1) { (store, _) throws(ModelFault) in .integer(Int64(store.keys.count)) },
    "flushall": write(-1) { (store, _) throws(ModelFault) in store.flush() },
    "flushdb": write(-1) { (store, _) throws(ModelFault) in store.flush() },
  ]

  private func flush() -> ModelReply {
    for key in keys { put(key, nil) }
    keyspace.removeAll()
    return .ok
  }

  private static func delete(_ store: ModelStore, _ words: ModelArguments) throws(ModelFault) -> ModelReply {
    var count: Int64 = 0
    for key in words.from(1) where store.entry(key) != nil {
      count += 1
      store.put(key, nil)
    }
    return .integer(count)
  }

  private func expire(_ words: ModelArguments, _ unit: Int64, isRelative: Bool) throws(ModelFault) -> ModelReply {
    let number = try words.integer(2) * unit
    let moment = isRelative ? milliseconds + number : number
    guard let entry = entry(words[1]) else { return .integer(0) }
    switch words.keyword(3) {
    case "": break
    case "NX": if entry.expiry != nil { return .integer(0) }
    case "XX": if entry.expiry == nil { return .integer(0) }
    case "GT": if entry.expiry.map({ moment <= $0 }) ?? true { return .integer(0) }
    case "LT": if entry.expiry.map({ moment >= $0 }) ?? false { return .integer(0) }
    default: throw ModelFault("ERR Unsupported option \(words.text(3))")
    }
    if moment <= milliseconds { put(words[1], nil) } else { put(words[1], entry.value, expiry: moment) }
    return .integer(1)
  }

  private func rest(_ key: [UInt8], _ unit: Int64) -> ModelReply {
    guard let entry = entry(key) else { return .integer(-2) }
    return .integer(entry.expiry.map { unit == 1 ? $0 - milliseconds : ($0 - milliseconds + 500) / unit } ?? -1)
  }

  /// Whether a name fits a pattern of `*`, `?` and letters.
  static func matches(_ name: ArraySlice<UInt8>, _ pattern: ArraySlice<UInt8>) -> Bool {
    guard let first = pattern.first else { return name.isEmpty }
    switch first {
    case UInt8(ascii: "*"):
      return matches(name, pattern.dropFirst()) || !name.isEmpty && matches(name.dropFirst(), pattern)
    case UInt8(ascii: "?"): return !name.isEmpty && matches(name.dropFirst(), pattern.dropFirst())
    default: return name.first == first && matches(name.dropFirst(), pattern.dropFirst())
    }
  }
}
