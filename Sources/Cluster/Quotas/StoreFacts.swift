/// What a store says of itself, as far as it matters to limits. Nil is what it did not say.
struct StoreFacts {
  var version: (Int, Int)?
  private var policy: String?
  private var limit: Int64?
  private var used: Int64?
  private var replicas: Int64?
  private var appends: Bool?
  private var listpackEntries: Int64?
  private var freesLazily: Bool?
  private var quorum: Int64?
  private var isConfigurationHidden = false

  mutating func note(_ reply: StoreReply, to fact: Fact) {
    switch reply {
    case .text(let text):
      for line in text.split(whereSeparator: \.isNewline) {
        guard let colon = line.firstIndex(of: ":") else { continue }
        note(String(line[..<colon]), String(line[line.index(after: colon)...]))
      }
    case .list(let words):
      for index in stride(from: 0, to: words.count - 1, by: 2) { note(words[index], words[index + 1]) }
    case .refused(.notPermitted), .refused(.unknownCommand):
      if fact.command[0] == "CONFIG" { isConfigurationHidden = true }
    case .refused, .other: break
    }
  }

  private mutating func note(_ name: String, _ value: String) {
    switch name {
    case "redis_version":
      let numbers = value.split(separator: ".").prefix(2).compactMap { Int($0) }
      if let major = numbers.first { version = (major, numbers.count > 1 ? numbers[1] : 0) }
    case "maxmemory": limit = Int64(value)
    case "used_memory": used = Int64(value)
    case "maxmemory_policy": policy = value
    case "connected_slaves": replicas = Int64(value)
    case "aof_enabled": appends = value == "1"
    case "hash-max-listpack-entries", "hash-max-ziplist-entries": listpackEntries = Int64(value)
    case "lazyfree-lazy-expire": freesLazily = value == "yes"
    case "min-replicas-to-write", "min-slaves-to-write": quorum = Int64(value)
    default: break
    }
  }

  /// All that people should know of it: first what makes limits wrong.
  var remarks: [StoreRemark] {
    let all = versionRemarks + memoryRemarks + costRemarks + failureRemarks + hiddenRemarks
    return all.filter(\.isViolation) + all.filter { !$0.isViolation }
  }

  private var versionRemarks: [StoreRemark] {
    guard let version, version < StoreCheck.oldest else { return [] }
    return [
      StoreRemark(
        topic: .version,
        text: "Redis \(version.0).\(version.1) is older than 6.2, the oldest whose scripts are known to count right; "
          + "use 6.2 or newer, best 7.0 or newer, where the decision library survives failovers",
        isViolation: true)
    ]
  }

  private var memoryRemarks: [StoreRemark] {
    guard let policy, let limit else { return [] }
    if policy != "noeviction" {
      let advice = "; CONFIG SET maxmemory-policy noeviction, or give sluice a Redis of its own"
      return [
        StoreRemark(
          topic: .eviction,
          text: limit > 0
            ? "maxmemory-policy is \(policy): when its \(Self.size(limit)) are full Redis forgets counters, and limits start "
              + "anew unnoticed" + advice
            : "maxmemory-policy is \(policy): harmless while there is no maxmemory, but with one Redis would forget "
              + "counters, and limits start anew unnoticed" + advice,
          isViolation: limit > 0)
      ]
    }
    guard limit > 0, let used, used > limit / 10 * 9 else { return [] }
    return [
      StoreRemark(
        topic: .memory,
        text: "\(Self.size(used)) of \(Self.size(limit)) are used: when they are full Redis refuses to count, and "
          + "limits fall back to what they do in an outage; a counter takes about 80 bytes; raise maxmemory",
        isViolation: false)
    ]
  }

  private var costRemarks: [StoreRemark] {
    var remarks: [StoreRemark] = []
    if let listpackEntries, listpackEntries > StoreCheck.listpackEntries {
      remarks.append(
        StoreRemark(
          topic: .listpacks,
          text: "hash-max-listpack-entries is \(listpackEntries): hashes of so many counters are searched from end to "
            + "end, and a decision costs Redis's core up to \(Self.cost(listpackEntries)) µs instead of 0.8 to 1.0; "
            + "CONFIG SET hash-max-listpack-entries \(StoreCheck.listpackEntries)",
          isViolation: false))
    }
    if freesLazily == false {
      remarks.append(
        StoreRemark(
          topic: .expiry,
          text: "lazyfree-lazy-expire is no: counters whose time is over are freed at once, and Redis stands still for "
            + "about 50 ms for each 100,000 of them; CONFIG SET lazyfree-lazy-expire yes",
          isViolation: false))
    }
    return remarks
  }

  private var failureRemarks: [StoreRemark] {
    var remarks: [StoreRemark] = []
    if let replicas, replicas > 0, quorum == 0 {
      remarks.append(
        StoreRemark(
          topic: .partition,
          text: "min-replicas-to-write is 0: a primary that is cut off from its replicas goes on counting for the "
            + "nodes that still reach it, beside the new one; with CONFIG SET min-replicas-to-write 1 and min-replicas-max-lag 1 it "
            + "stops within 3 seconds",
          isViolation: false))
    }
    if appends == false, replicas == 0 {
      remarks.append(
        StoreRemark(
          topic: .durability,
          text: "there is neither a replica nor an append-only file: after a restart of Redis only what running nodes "
            + "remember comes back, and quotas of days and months may start anew; CONFIG SET appendonly yes costs about "
            + "0.2 µs a decision, or add a replica",
          isViolation: false))
    }
    return remarks
  }

  private var hiddenRemarks: [StoreRemark] {
    var hidden: [String] = []
    if version == nil { hidden.append("the version (6.2 or newer)") }
    if policy == nil || limit == nil { hidden.append("maxmemory-policy (noeviction)") }
    if listpackEntries == nil { hidden.append("hash-max-listpack-entries (\(StoreCheck.listpackEntries))") }
    if freesLazily == nil { hidden.append("lazyfree-lazy-expire (yes)") }
    if hidden.isEmpty { return [] }
    let reason = isConfigurationHidden ? "CONFIG GET is refused, as on managed servers" : "the server did not say"
    return [
      StoreRemark(
        topic: .unknown,
        text: "could not be checked, since \(reason): \(hidden.joined(separator: ", ")); see to it by hand",
        isViolation: false)
    ]
  }

  /// As measured with the decision library in batches of 64, of hashes with 64 to 128, 256 and 512 counters.
  private static func cost(_ entries: Int64) -> String { entries <= 128 ? "1.5" : entries <= 256 ? "2.3" : "3.5" }

  private static func size(_ bytes: Int64) -> String {
    bytes < 10 << 20 ? "\(bytes >> 10) KiB" : bytes < 10 << 30 ? "\(bytes >> 20) MiB" : "\(bytes >> 30) GiB"
  }
}
