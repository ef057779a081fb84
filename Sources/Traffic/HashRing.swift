import Core

/// Points of endpoints on a circle of 64-bit hashes; a key belongs to the next point at or behind its own hash.
///
/// An endpoint's points depend on its address and weight alone, so removing one moves only the keys that it had, and
/// every node and every reload agrees. A Maglev table looks up faster but moves some keys of the others, too.
struct HashRing: Sendable {
  /// Points for a weight of 1, unless the largest weight exceeds ``pointLimit`` divided by this. The share of an
  /// endpoint strays from its weight by about one in the square root of its points.
  static let pointsPerWeight = 256
  /// The most points that one endpoint gets.
  static let pointLimit = 4096

  private(set) var hashes: ContiguousArray<UInt64> = []
  private(set) var owners: ContiguousArray<Int32> = []

  init(_ endpoints: ContiguousArray<Endpoint>) {
    let largest = Int(endpoints.map(\.weight).max() ?? 1)
    let perWeight = max(1, min(Self.pointsPerWeight, Self.pointLimit / largest))
    var points: [(hash: UInt64, owner: Int32)] = []
    for (index, endpoint) in endpoints.enumerated() {
      let seed = Self.seed(of: endpoint.state.address)
      for point in 0..<perWeight * Int(endpoint.weight) {
        points.append((StableHash.of(high: seed, low: UInt64(point)), Int32(index)))
      }
    }
    points.sort { $0.hash < $1.hash || $0.hash == $1.hash && $0.owner < $1.owner }
    hashes = ContiguousArray(points.map(\.hash))
    owners = ContiguousArray(points.map(\.owner))
  }

  private static func seed(of address: SocketAddress) -> UInt64 {
    switch address {
    case .ip(let ip, let port): StableHash.of(high: ip.high, low: ip.low, seed: UInt64(port))
    case .unix(let path): StableHash.of(RawSpan(Array(path.utf8)), seed: 1 << 32)
    }
  }

  /// The index of the first point at or behind `hash`. Requires a point.
  @inline(__always)
  func firstPoint(_ hash: UInt64) -> Int {
    var low = 0
    var high = hashes.count
    while low < high {
      let middle = (low &+ high) / 2
      if hashes[middle] < hash { low = middle &+ 1 } else { high = middle }
    }
    return low == hashes.count ? 0 : low
  }
}
