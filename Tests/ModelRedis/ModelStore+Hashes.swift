extension ModelStore {
  static let hashes: [String: Command] = [
    "hget": read(3) { (store, words) throws(ModelFault) in .optional(try store.hash(words[1])[words[2]]) },
    "hmget": read(-3) { (store, words) throws(ModelFault) in
      let fields = try store.hash(words[1])
      return .list(words.from(2).map { .optional(fields[$0]) })
    },
    "hset": write(-4) { (store, words) throws(ModelFault) in .integer(try store.setFields(words, "hset")) },
    "hmset": write(-4) { (store, words) throws(ModelFault) in
      _ = try store.setFields(words, "hmset")
      return .ok
    },
    "hsetnx": write(4) { (store, words) throws(ModelFault) in
      var fields = try store.hash(words[1])
      if fields[words[2]] != nil { return .integer(0) }
      fields[words[2]] = words[3]
      store.put(words[1], .hash(fields))
      return .integer(1)
    },
    "hdel": write(-3) { (store, words) throws(ModelFault) in
      var fields = try store.hash(words[1])
      let before = fields.count
      for name in words.from(2) { fields[name] = nil }
      if fields.count < before { store.put(words[1], .hash(fields)) }
      return .integer(Int64(before - fields.count))
    },
    "hgetall": read(2) { (store, words) throws(ModelFault) in
      .list(try store.hash(words[1]).all.flatMap { [$0.name, $0.value] })
    },
    "hkeys": read(2) { (store, words) throws(ModelFault) in .list(try store.hash(words[1]).all.map(\.name)) },
    "hvals": read(2) { (store, words) throws(ModelFault) in .list(try store.hash(words[1]).all.map(\.value)) },
    "hlen": read(2) { (store, words) throws(ModelFault) in .integer(Int64(try store.hash(words[1]).count)) },
    "hexists": read(3) { (store, words) throws(ModelFault) in
      .integer(try store.hash(words[1])[words[2]] == nil ? 0 : 1)
    },
    "hstrlen": read(3) { (store, words) throws(ModelFault) in
      .integer(Int64(try store.hash(words[1])[words[2]]?.count ?? 0))
    },
    "hincrby": write(4) { (store, words) throws(ModelFault) in
      let amount = try words.integer(3)
      var fields = try store.hash(words[1])
      var number: Int64 = 0
      if let bytes = fields[words[2]] {
        do throws(ModelFault) {
          number = try ModelArguments.integer(bytes)
        } catch {
          throw ModelFault("ERR hash value is not an integer")
        }
      }
      let (sum, overflow) = number.addingReportingOverflow(amount)
      if overflow { throw ModelFault("ERR increment or decrement would overflow") }
      fields[words[2]] = Array(String(sum).utf8)
      store.put(words[1], .hash(fields))
      return .integer(sum)
    },
    // All at once: a cursor of 0 is the end.
    "hscan": read(-3) { (store, words) throws(ModelFault) in
      .list([.text("0"), .list(try store.hash(words[1]).all.flatMap { [$0.name, $0.value] })])
    },
  ]

  private func setFields(_ words: ModelArguments, _ name: String) throws(ModelFault) -> Int64 {
    guard words.count % 2 == 0 else { throw ModelFault("ERR wrong number of arguments for '\(name)' command") }
    var fields = try hash(words[1])
    let before = fields.count
    for at in stride(from: 2, to: words.count, by: 2) { fields[words[at]] = words[at + 1] }
    put(words[1], .hash(fields))
    return Int64(fields.count - before)
  }

  // MARK: Sets

  static let sets: [String: Command] = [
    "sadd": write(-3) { (store, words) throws(ModelFault) in
      var all = try store.set(words[1])
      let before = all.count
      for member in words.from(2) { all[member] = [] }
      if all.count > before { store.put(words[1], .set(all)) }
      return .integer(Int64(all.count - before))
    },
    "srem": write(-3) { (store, words) throws(ModelFault) in
      var all = try store.set(words[1])
      let before = all.count
      for member in words.from(2) { all[member] = nil }
      if all.count < before { store.put(words[1], .set(all)) }
      return .integer(Int64(before - all.count))
    },
    "smembers": read(2) { (store, words) throws(ModelFault) in .list(try store.set(words[1]).all.map(\.name)) },
    "sismember": read(3) { (store, words) throws(ModelFault) in
      .integer(try store.set(words[1])[words[2]] == nil ? 0 : 1)
    },
    "scard": read(2) { (store, words) throws(ModelFault) in .integer(Int64(try store.set(words[1]).count)) },
  ]

  // MARK: Lists

  static let lists: [String: Command] = [
    "lpush": write(-3) { (store, words) throws(ModelFault) in
      let all = Array(words.from(2).reversed()) + (try store.list(words[1]))
      store.put(words[1], .list(all))
      return .integer(Int64(all.count))
    },
    "rpush": write(-3) { (store, words) throws(ModelFault) in
      let all = try store.list(words[1]) + Array(words.from(2))
      store.put(words[1], .list(all))
      return .integer(Int64(all.count))
    },
    "lpop": write(-2) { (store, words) throws(ModelFault) in try store.pop(words, isFirst: true) },
    "rpop": write(-2) { (store, words) throws(ModelFault) in try store.pop(words, isFirst: false) },
    "llen": read(2) { (store, words) throws(ModelFault) in .integer(Int64(try store.list(words[1]).count)) },
    "lindex": read(3) { (store, words) throws(ModelFault) in
      let (all, place) = (try store.list(words[1]), try words.integer(2))
      return slice(place, place, of: all.count).map { .bytes(all[$0.lowerBound]) } ?? .null
    },
    "lset": write(4) { (store, words) throws(ModelFault) in
      var all = try store.list(words[1])
      if all.isEmpty { throw ModelFault("ERR no such key") }
      var place = try words.integer(2)
      if place < 0 { place += Int64(all.count) }
      guard all.indices.contains(Int(place)) else { throw ModelFault("ERR index out of range") }
      all[Int(place)] = words[3]
      store.put(words[1], .list(all))
      return .ok
    },
    "lrange": read(4) { (store, words) throws(ModelFault) in
      let all = try store.list(words[1])
      let range = slice(try words.integer(2), try words.integer(3), of: all.count)
      return .list(range.map { Array(all[$0]) } ?? [])
    },
    "ltrim": write(4) { (store, words) throws(ModelFault) in
      let all = try store.list(words[1])
      let range = slice(try words.integer(2), try words.integer(3), of: all.count)
      if !all.isEmpty { store.put(words[1], .list(range.map { Array(all[$0]) } ?? [])) }
      return .ok
    },
    "lrem": write(4) { (store, words) throws(ModelFault) in
      let (all, most) = (try store.list(words[1]), try words.integer(2))
      var left = most == 0 ? Int64.max : abs(most)
      var kept: [[UInt8]] = []
      for element in most < 0 ? all.reversed() : all {
        if element == words[3], left > 0 { left -= 1 } else { kept.append(element) }
      }
      if kept.count < all.count { store.put(words[1], .list(most < 0 ? kept.reversed() : kept)) }
      return .integer(Int64(all.count - kept.count))
    },
  ]

  private func pop(_ words: ModelArguments, isFirst: Bool) throws(ModelFault) -> ModelReply {
    var all = try list(words[1])
    let wanted = words.count > 2 ? Int(try words.integer(2)) : 1
    guard wanted >= 0 else { throw ModelFault("ERR value is out of range, must be positive") }
    if all.isEmpty { return words.count > 2 ? .nullList : .null }
    let count = min(wanted, all.count)
    let taken = isFirst ? Array(all.prefix(count)) : all.suffix(count).reversed()
    if isFirst { all.removeFirst(count) } else { all.removeLast(count) }
    if count > 0 { put(words[1], .list(all)) }
    return words.count > 2 ? .list(taken) : .bytes(taken[0])
  }
}
