import Core

/// The decision library once more, in plain integers: what Redis is to do with each call, for tests to compare with and for
/// a simulated Redis to run. It takes the same arguments and gives the same bytes as `lanes.lua`; nothing is shared with it.
public struct LaneModel {
  /// A hash of Redis: values by field, and the millisecond at which it goes.
  public struct Hash: Equatable, Sendable {
    /// The fields.
    public var fields: [[UInt8]: [UInt8]] = [:]
    /// Milliseconds since 1970.
    public var expiry: Int64?

    /// A hash without fields.
    public init() {}
  }

  /// A lane's own record.
  struct Record {
    var id: [UInt8]
    var now: Int64
    var wall: Int64
    var gate: Int64
    var epoch: Int64
    var members: Int64
    var merged: [[UInt8]] = []

    var bytes: [UInt8] {
      id + [now, wall, gate, epoch, members].flatMap { LaneModel.bytes($0) } + merged.flatMap { $0 }
    }
  }

  /// All hashes.
  public internal(set) var hashes: [[UInt8]: Hash] = [:]
  var records: [[UInt8]: Record] = [:]

  /// An empty Redis.
  public init() {}

  /// The records as Redis keeps them.
  public var recordBytes: [[UInt8]: [UInt8]] { records.mapValues(\.bytes) }

  /// Runs a call with these keys and arguments while the wall clock shows `wall`, microseconds since 1970. Returns the
  /// answer. The call must be one that the library's users write.
  public mutating func call(keys: [[UInt8]], arguments: [[UInt8]], wall: Int64) -> [UInt8] {
    switch String(decoding: arguments[0], as: UTF8.self) {
    case "apply": apply(keys, arguments, wall)
    case "merge": merge(keys, arguments, wall)
    case "recover": recover(keys[0], arguments, wall)
    default: slots(keys, arguments, wall)
    }
  }

  /// The lane's time: never back, and at half speed while the wall clock is behind.
  func now(_ record: Record?, _ wall: Int64) -> Int64 {
    guard let record else { return wall }
    return max(wall, record.now + max(0, wall - record.wall) / 2)
  }

  mutating func remember(_ key: [UInt8], _ now: Int64, _ wall: Int64) {
    records[key]?.now = now
    records[key]?.wall = wall
  }

  static func closed(_ now: Int64, _ record: Record?) -> [UInt8] {
    [UInt8(ascii: "R")] + bytes(now) + (record?.id ?? [])
  }

  private mutating func recover(_ key: [UInt8], _ arguments: [[UInt8]], _ wall: Int64) -> [UInt8] {
    let old = records[key]
    var now = now(old, wall)
    let numbers = Self.numbers(arguments[3])
    var (gate, epoch) = (old?.gate ?? 0, old?.epoch ?? 0)
    if old?.id != arguments[1] {
      now = max(now, numbers[2])
      gate = numbers[0] > 0 ? now + numbers[1] : 0
      epoch = old != nil && epoch >= now / 1000 ? epoch + 1 : now / 1000
      records[key] = Record(id: arguments[1], now: now, wall: wall, gate: gate, epoch: epoch, members: numbers[0])
    }
    return [UInt8(ascii: "A")] + [now, epoch, gate, old == nil ? 0 : 1].flatMap { Self.bytes($0) }
  }

  private mutating func slots(_ keys: [[UInt8]], _ arguments: [[UInt8]], _ wall: Int64) -> [UInt8] {
    let now = now(records[keys[0]], wall)
    guard let record = records[keys[0]], record.id == arguments[1] else { return Self.closed(now, records[keys[0]]) }
    let numbers = Self.numbers(arguments[3])
    let (node, end, isHolding) = (arguments[2], now + numbers[0], numbers[1] != 0)
    if now < record.gate && !isHolding { return [UInt8(ascii: "W")] + Self.bytes(now) + Self.bytes(record.gate) }
    var answer = [UInt8(ascii: "A")] + Self.bytes(now) + Self.bytes(record.epoch)
    var isChanged = false
    for (position, key) in keys.dropFirst().enumerated() {
      let (limit, wanted) = (numbers[2 + position * 2], numbers[3 + position * 2])
      let known = (hashes[key]?.fields ?? [:]).mapValues { Self.numbers($0) }
      let others = known.filter { $0.key != node && $0.value[1] > now }
      let sum = others.reduce(0) { $0 + $1.value[0] }
      let own = known[node].map { $0[1] > now ? $0[0] : 0 } ?? 0
      var grant = min(wanted, own)
      let free = limit - sum - own
      if isHolding {
        grant = max(wanted, own)
      } else if free < 0 {
        grant = min(grant, max(0, limit - sum))
      } else if wanted > own {
        let parts = Int64(2 * (others.count + 1))
        grant = own + min(wanted - own, (free + parts - 1) / parts)
      }
      if grant > 0 || known[node] != nil {
        isChanged = true
        for name in known.keys where others[name] == nil { hashes[key]?.fields[name] = nil }
        if grant > 0 {
          hashes[key, default: Hash()].fields[node] = Self.bytes(grant) + Self.bytes(end)
          hashes[key]?.expiry = max(end, others.values.map { $0[1] }.max() ?? 0) / 1000 + 1
        }
        if hashes[key]?.fields.isEmpty == true { hashes[key] = nil }
      }
      answer += Self.bytes(grant) + Self.bytes(sum)
    }
    if isChanged { remember(keys[0], now, wall) }
    return answer
  }

  // MARK: Bytes

  /// A whole number as a little-endian double.
  public static func bytes(_ number: Int64) -> [UInt8] {
    precondition(abs(number) <= 1 << 53, "a number that a double does not keep")
    let bits = Double(number).bitPattern
    return (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt64($0))) }
  }

  static func word(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// All little-endian doubles of `bytes`, which must be whole; those beyond 64 bits as the largest.
  public static func numbers(_ bytes: [UInt8]) -> [Int64] {
    stride(from: 0, to: bytes.count, by: 8).map {
      let number = Double(bitPattern: word(bytes[$0..<$0 + 8]))
      return number >= 0x1p63 ? .max : Int64(number)
    }
  }
}
