// What facts cost a node, without the network around them: memory and look-ups of ten million revocations and of a million
// keys. Prints one figure a line, name and value. Built and run by `benchmarks/run facts`.

import CLinux
import Core
import Crypto
import Glibc
import Pipeline

func cpuNanoseconds() -> Double {
  var time = timespec()
  _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

/// Resident bytes of the process, as the kernel counts them.
func residentBytes() -> Double {
  _ = malloc_trim(0)
  guard let file = unsafe fopen("/proc/self/statm", "r") else { return 0 }
  defer { unsafe fclose(file) }
  var (size, resident) = (0, 0)
  _ = unsafe withUnsafeMutablePointer(to: &size) { size in
    unsafe withUnsafeMutablePointer(to: &resident) { resident in
      unsafe withVaList([size, resident]) { unsafe vfscanf(file, "%ld %ld", $0) }
    }
  }
  return Double(resident * 4096)
}

func report(_ name: String, _ value: Double) { print("\(name)\t\(value)") }

/// Numbers that look random and are the same each time.
struct Mixer {
  static func mark(_ index: Int) -> RevocationMark {
    var word = UInt64(index) &+ 0x9e37_79b9_7f4a_7c15
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return RevocationMark(bits: max(1, (word ^ word >> 31) >> 4)) ?? RevocationMark(.tokenID, "", key: SipKey(low: 1, high: 2))
  }
}

struct Tokens: RevocationSource {
  let count: Int

  func forEach(_ body: (Revocation) -> Void) {
    // Ends within a week, as sessions have them.
    for index in 0..<count { body(Revocation(Mixer.mark(index), expires: 1_000_000 + UInt32(index % 7 + 1) * 86_400)) }
  }
}

func measureRevocations(_ count: Int) {
  let before = residentBytes()
  var book = RevocationBook()
  let began = cpuNanoseconds()
  book.load(Tokens(count: count), now: 1_000_000)
  report("build, s", (cpuNanoseconds() - began) / 1e9)
  report("revocations, MB", (residentBytes() - before) / 1e6)
  let revocations = book.current
  let probes = 1 << 22
  // The marks are made beforehand, in an order that no cache knows.
  var others: ContiguousArray<RevocationMark> = []
  for index in 0..<probes { others.append(Mixer.mark(count + index)) }
  var best = Double.infinity
  var hits = 0
  for _ in 0..<5 {
    let began = cpuNanoseconds()
    for mark in others where revocations.holds(mark, now: 1_000_001) { hits += 1 }
    best = min(best, (cpuNanoseconds() - began) / Double(probes))
  }
  report("not on the list, ns", best)
  report("false hits", Double(hits))
  // One look-up waits for the one before: nothing overlaps.
  var place = 0
  let serial = cpuNanoseconds()
  for _ in 0..<probes {
    // The mark is reckoned, as a request's is: fetched from an array it would be one more miss of the cache.
    let next = place &* 5 &+ 12_345_679
    place = (next &+ (revocations.holds(Mixer.mark(count + place), now: 1_000_001) ? 1 : 0)) & (probes - 1)
  }
  report("not on the list, one after the other, ns", (cpuNanoseconds() - serial) / Double(probes))
  for index in 0..<probes { others[index] = Mixer.mark(index &* 7919 % count) }
  let positive = cpuNanoseconds()
  var found = 0
  for mark in others where revocations.holds(mark, now: 1_000_001) { found += 1 }
  report("on the list, ns", (cpuNanoseconds() - positive) / Double(probes))
  precondition(found == probes, "one was missed")
}

/// A world in which nothing happens.
final class StillWorld: World {
  let now = Instant(nanoseconds: 0)
  let wallTime = WallTime(microseconds: 1_790_000_000_000_000)
  let previousTurnNanoseconds: Int64 = 0
  func random() -> UInt64 { 4 }
  func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    throw .notPermitted
  }
  func localAddress(of socket: Socket) -> SocketAddress? { nil }
  func accept(_ listener: Socket) -> AcceptResult { .wouldBlock }
  func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket { throw .notPermitted }
  func connectFailure(_ socket: Socket) -> NetworkError? { nil }
  func register(_ socket: Socket, token: UInt64) throws(NetworkError) {}
  func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult { .wouldBlock }
  func endSending(_ socket: Socket) {}
  func close(_ socket: Socket, reset: Bool) {}
}

/// Decides nothing.
final class NoQuota: Quota {
  let subjectKey = SipKey(low: 1, high: 2)
  func civilTime(now: Instant, wall: WallTime) -> WallTime { wall }
  func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {}
  func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {}
  func collect(_ question: inout LimitQuestion, ticket: UInt64) {}
  func release(_ question: inout LimitQuestion, now: Instant) {}
}

/// Nanoseconds each of what `body` does with texts that lie in the cache, as a request's bytes do when they are looked at: the
/// median of many short stretches, so that other processes do not count.
func stretches(_ texts: [[UInt8]], _ body: (RawSpan) -> Void) -> Double {
  let length = 50
  var found: [Double] = []
  var near = [UInt8](repeating: 0, count: length * KeyText.byteCount)
  for first in stride(from: 0, through: texts.count - length, by: length) {
    for index in 0..<length {
      near.replaceSubrange(index * KeyText.byteCount..<(index + 1) * KeyText.byteCount, with: texts[first + index])
    }
    let bytes = RawSpan(near)
    let began = cpuNanoseconds()
    for index in 0..<length { body(bytes.extracting(index * KeyText.byteCount..<(index + 1) * KeyText.byteCount)) }
    found.append((cpuNanoseconds() - began) / Double(length))
  }
  return found.sorted()[found.count / 2]
}

func unseenLookUp(_ texts: [[UInt8]], _ services: Services) -> Double {
  stretches(texts) { guard case .issued = services.holder(of: $0) else { fatalError("a key was not found") } }
}

func shaAlone(_ texts: [[UInt8]], _ hasher: SHA256) -> Double {
  var sum: UInt64 = 0
  let result = stretches(texts) { sum ^= hasher.digest(of: $0).words.0 }
  precondition(sum != 1)
  return result
}

func measureKeys(_ count: Int, consumers: Int, _ name: String) {
  let sample = 20_000
  // As a node loads a snapshot.
  let batchSize = 250_000
  // In one piece that is there before: texts of their own would keep whole pages of what a batch gives back.
  var flat = [UInt8](repeating: 1, count: sample * KeyText.byteCount)
  var sampled = 0
  var book = IssuedKeyBook()
  let hasher = SHA256()
  let before = residentBytes()
  let began = cpuNanoseconds()
  var made = 0
  while made < count {
    var batch: [IssuedKey] = []
    for index in made..<min(made + batchSize, count) {
      let (id, text) = KeyText.make { SecureRandom.bytes($0) }
      if index % (count / sample) == 0 {
        flat.replaceSubrange(sampled * KeyText.byteCount..<(sampled + 1) * KeyText.byteCount, with: text)
        sampled += 1
      }
      batch.append(
        IssuedKey(
          id: id, version: 1, digest: hasher.digest(of: RawSpan(text)),
          consumer: KeyConsumer(id: "developer-\(index % consumers)", own: .init(tenant: "acme", groups: ["gold"])),
          created: 1))
    }
    made += batch.count
    _ = book.put(batch)
  }
  report("\(name): making and loading, s", (cpuNanoseconds() - began) / 1e9)
  report("\(name): resident bytes a key", (residentBytes() - before) / Double(count))
  report("\(name): counted bytes a key", Double(book.byteCount) / Double(count))
  let texts = (0..<sampled).map { Array(flat[$0 * KeyText.byteCount..<($0 + 1) * KeyText.byteCount]) }
  let facts = LoopFacts(markKey: SipKey(low: 1, high: 2), clock: FactClock(), bootTime: { 0 })
  facts.view = FactView(keys: book.current)
  let services = Services(
    world: StillWorld(), quota: NoQuota(), keyRing: KeyRing(), routes: RouteNames([]), hasher: SHA256(), facts: facts)
  var wanted: [(id: KeyID, digest: Digest)] = []
  for text in texts {
    if case .key(let id) = KeyText.read(RawSpan(text)) { wanted.append((id, hasher.digest(of: RawSpan(text)))) }
  }
  var valid = 0
  let tables = cpuNanoseconds()
  for _ in 0..<5 { for key in wanted where book.current.isValid(key.id, key.digest, at: 5) { valid += 1 } }
  report("\(name): look at the table, ns", (cpuNanoseconds() - tables) / Double(wanted.count * 5))
  precondition(valid == wanted.count * 5)
  report("\(name): look-up of a key not seen before, ns", unseenLookUp(texts, services))
  report("\(name): SHA-256 of its text alone, ns", shaAlone(texts, hasher))
  let seen = Array(texts.prefix(2000))
  for _ in 0..<3 { for text in seen { _ = services.holder(of: RawSpan(text)) } }
  let again = cpuNanoseconds()
  for _ in 0..<10 { for text in seen { _ = services.holder(of: RawSpan(text)) } }
  report("\(name): look-up of a key seen before, ns", (cpuNanoseconds() - again) / Double(seen.count * 10))
  let change = cpuNanoseconds()
  for number in 0..<200 {
    let text = texts[number]
    guard case .key(let id) = KeyText.read(RawSpan(text)), var key = book.current.key(id) else { fatalError() }
    key.version += 1
    key.state = .disabled
    _ = book.put([key])
  }
  report("\(name): changing one, µs", (cpuNanoseconds() - change) / 200_000)
}

// Each in a process of its own: what one has given back would be counted as the next one's.
switch CommandLine.arguments.dropFirst().first {
case "revocations": measureRevocations(10_000_000)
case "keys": measureKeys(1_000_000, consumers: 10_000, "keys of 10,000 consumers")
case "consumers": measureKeys(1_000_000, consumers: 1_000_000, "keys with a consumer each")
default: print("usage: fact-cost revocations | keys | consumers")
}
