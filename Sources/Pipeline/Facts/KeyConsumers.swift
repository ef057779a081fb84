import Core

/// The consumers of a cluster's keys, by numbers that stay theirs as long as the process lives. A value; what has been
/// filled is shared by all copies, and nothing is ever taken out.
///
/// Some 7 bytes each and its name: a million developers with a key each must fit.
struct KeyConsumers: Sendable {
  /// Names of 512 consumers have 64 KiB at most, so that sixteen bits tell where one begins.
  private static let chunkBits = 9
  private static let chunkMask = 1 << chunkBits - 1

  /// Five hundred consumers.
  private struct Chunk: Sendable {
    /// Where each name begins in ``bytes``.
    private var starts: ContiguousArray<UInt16> = []
    private(set) var bytes: ContiguousArray<UInt8> = []
    /// The profile of all; of the first one where they have several.
    private var profile: UInt32 = 0
    /// Empty as long as all have the same.
    private(set) var profiles: ContiguousArray<UInt32> = []

    /// With room for names of so many bytes: growing leaves holes between the chunks, as large as these.
    init(room: Int) {
      starts.reserveCapacity(chunkMask + 1)
      bytes.reserveCapacity(room)
    }

    func range(_ place: Int) -> Range<Int> {
      Int(starts[place])..<(place + 1 < starts.count ? Int(starts[place + 1]) : bytes.count)
    }

    func profile(_ place: Int) -> UInt32 { profiles.isEmpty ? profile : profiles[place] }

    mutating func append(_ name: [UInt8], _ profile: UInt32) {
      precondition(name.count <= IssuedKey.nameBytes, "a name that nobody checked")
      let count = starts.count
      if count == 0 { self.profile = profile }
      if profiles.isEmpty && profile != self.profile {
        profiles.reserveCapacity(chunkMask + 1)
        profiles.append(contentsOf: repeatElement(self.profile, count: count))
      }
      if !profiles.isEmpty { profiles.append(profile) }
      starts.append(UInt16(bytes.count))
      bytes.append(contentsOf: name)
      if count == chunkMask && bytes.capacity - bytes.count > bytes.count / 8 {
        // Full: without the room for more.
        var exact: ContiguousArray<UInt8> = []
        exact.reserveCapacity(bytes.count)
        exact.append(contentsOf: bytes)
        bytes = exact
      }
    }

    /// With what the allocator needs for each array.
    var byteCount: Int { starts.capacity * 2 + profiles.capacity * 4 + bytes.capacity + 128 }
  }

  private var chunks: ContiguousArray<Chunk> = []
  private var profiles: ContiguousArray<ConsumerProfile> = []
  private var isOwnProfile: ContiguousArray<Bool> = []
  private(set) var count: Int32 = 0

  private func profileNumber(of index: Int32) -> UInt32 {
    chunks[Int(index) >> Self.chunkBits].profile(Int(index) & Self.chunkMask)
  }

  /// Whether the configuration does not say what the consumer is. Counts no reference.
  @inline(__always)
  func isOwn(_ index: Int32) -> Bool { isOwnProfile[Int(profileNumber(of: index))] }

  func profile(of index: Int32) -> ConsumerProfile { profiles[Int(profileNumber(of: index))] }

  /// Lends the name of a consumer.
  @inline(__always)
  func withName<Result>(of index: Int32, _ body: (RawSpan) -> Result) -> Result {
    let place = Int(index) & Self.chunkMask
    let chunk = Int(index) >> Self.chunkBits
    let range = chunks[chunk].range(place)
    let bytes = chunks[chunk].bytes
    // Bytes have no padding.
    return body(unsafe bytes.span.bytes.extracting(range))
  }

  func consumer(_ index: Int32) -> KeyConsumer {
    KeyConsumer(id: withName(of: index) { String(decoding: $0) }, own: profile(of: index).own)
  }

  /// The names of consumers that the configuration does not know, each once. Linear in all consumers.
  var ownNames: [String] {
    var seen: Set<String> = []
    let names = (0..<count).filter(isOwn).map { withName(of: $0) { String(decoding: $0) } }
    return names.filter { seen.insert($0).inserted }
  }

  /// The last number of a consumer of this name that the configuration does not know; nil where there is none. Looks through
  /// all names: some milliseconds for a million.
  func own(named name: String) -> Int32? {
    let name = Array(name.utf8)
    for index in (0..<count).reversed() where isOwn(index) {
      if withName(of: index, { $0.equals(RawSpan(name)) }) { return index }
    }
    return nil
  }

  /// The names of a tenant's consumers that the configuration does not know, each once. Linear in all consumers.
  func ownNames(ofTenant tenant: String) -> Set<String> {
    let found = (0..<count).filter { isOwn($0) && profile(of: $0).own?.tenant == tenant }
    return Set(found.map { withName(of: $0) { String(decoding: $0) } })
  }

  /// Whether somebody else than this tenant has, or has had, a consumer of this name that the configuration does not know.
  /// Looks through all names.
  func hasOwn(named name: String, otherThan tenant: String) -> Bool {
    let name = Array(name.utf8)
    return (0..<count).contains { index in
      isOwn(index) && withName(of: index, { $0.equals(RawSpan(name)) }) && profile(of: index).own?.tenant != tenant
    }
  }

  private mutating func append(_ name: [UInt8], _ profile: UInt32) {
    if Int(count) & Self.chunkMask == 0 {
      let usual = chunks.last?.bytes.count ?? 0
      chunks.append(Chunk(room: usual + usual / 32))
    }
    chunks[chunks.count - 1].append(name, profile)
    count += 1
  }

  /// Bytes of memory, as far as they grow with the number of consumers.
  var byteCount: Int {
    chunks.reduce(0) { $0 + $1.byteCount }
  }

  /// Gives consumers their numbers; kept by whoever adds, four to eight bytes for each.
  struct Index {
    private var table = ContiguousArray<Int32>(repeating: -1, count: 8)
    private var profileNumbers: [KeyConsumer.Own?: UInt32] = [:]

    /// The number of a consumer, a new one if it has none yet.
    mutating func number(of consumer: KeyConsumer, in consumers: inout KeyConsumers) -> Int32 {
      let profile = number(of: consumer.own, &consumers)
      let name = Array(consumer.id.utf8)
      var place = place(of: RawSpan(name), profile)
      while table[place] >= 0 {
        let index = table[place]
        if consumers.profileNumber(of: index) == profile,
          consumers.withName(of: index, { $0.equals(RawSpan(name)) })
        {
          return index
        }
        place = self.place(after: place)
      }
      let index = consumers.count
      consumers.append(name, profile)
      table[place] = index
      if Int(index + 1) * 8 > table.count * 7 { grow(consumers) }
      return index
    }

    private mutating func number(of own: KeyConsumer.Own?, _ consumers: inout KeyConsumers) -> UInt32 {
      if let known = profileNumbers[own] { return known }
      let number = UInt32(consumers.profiles.count)
      consumers.profiles.append(ConsumerProfile(own))
      consumers.isOwnProfile.append(own != nil)
      profileNumbers[own] = number
      return number
    }

    private func place(of name: RawSpan, _ profile: UInt32) -> Int {
      let name = QuotaKey(configured: "", span: name)
      // Below the number of places, since the other factor is below 2⁶⁴.
      return Int(
        (name.low &+ UInt64(profile) &* 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(by: UInt64(table.count)).high)
    }

    private func place(after place: Int) -> Int { place + 1 == table.count ? 0 : place + 1 }

    private mutating func grow(_ consumers: KeyConsumers) {
      // By a quarter: doubling would leave half of a million's places empty.
      table = ContiguousArray(repeating: -1, count: table.count + table.count / 4)
      for index in 0..<consumers.count {
        let profile = consumers.profileNumber(of: index)
        var place = consumers.withName(of: index) { self.place(of: $0, profile) }
        while table[place] >= 0 { place = self.place(after: place) }
        table[place] = index
      }
    }

    var byteCount: Int { table.count * 4 }
  }
}

extension QuotaKey {
  /// The same as ``init(configured:)`` of a kind and a name of at most 128 bytes each, without an allocation.
  init(configured kind: StaticString, span name: RawSpan) {
    precondition(kind.utf8CodeUnitCount <= 128 && name.byteCount <= 128)
    self = unsafe withUnsafeTemporaryAllocation(byteCount: 258, alignment: 8) { memory in
      // Both names and two bytes more fit, and what is read has been written.
      var count = kind.utf8CodeUnitCount
      for offset in 0..<count { unsafe memory[offset] = kind.utf8Start[offset] }
      unsafe memory[count] = 0xff
      count += 1
      for offset in 0..<name.byteCount { unsafe memory[count + offset] = name[byte: offset] }
      count += name.byteCount
      unsafe memory[count] = 0xff
      return unsafe QuotaKey(
        chosen: RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: memory[..<(count + 1)])), key: Self.configuredKey
      )
    }
  }
}

extension String {
  /// The text of bytes; what is not UTF-8 becomes U+FFFD.
  init(decoding bytes: RawSpan) {
    self = unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }
}
