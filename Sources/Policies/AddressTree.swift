import Core

/// Networks and what holds for each, found by an address's longest match.
///
/// A radix tree with compressed paths: at most one node more than networks, and a look-up visits no more nodes than there
/// are nested networks plus branches on its way. IPv4 and IPv6 have trees of their own, since `::/0` says nothing about IPv4.
struct AddressTree: Sendable {
  /// What holds in a network.
  enum Mark: UInt8, Sendable { case none, allow, deny }

  private struct Node: BitwiseCopyable {
    var base: IPAddress
    var length: UInt8
    var mark: Mark
    /// By the first bit behind the prefix; −1 for none.
    var zero: Int32 = -1
    var one: Int32 = -1
  }

  private var nodes: ContiguousArray<Node> = []
  private var root4: Int32 = -1
  private var root6: Int32 = -1

  /// Marks a network; returns false where it has another mark already.
  mutating func insert(_ network: IPNetwork, _ mark: Mark) -> Bool {
    let root = network.isV4 ? root4 : root6
    let (newRoot, isNew) = insert(network.base, UInt8(network.prefixLength), mark, at: root)
    if network.isV4 { root4 = newRoot } else { root6 = newRoot }
    return isNew
  }

  /// The mark of the smallest network around `address`.
  func find(_ address: IPAddress) -> Mark {
    var mark = Mark.none
    var index = address.isV4 ? root4 : root6
    while index >= 0 {
      let node = nodes[Int(index)]
      if Self.commonLength(node.base, address) < Int(node.length) { break }
      if node.mark != .none { mark = node.mark }
      if node.length == 128 { break }
      index = Self.bit(address, Int(node.length)) ? node.one : node.zero
    }
    return mark
  }

  /// Inserts below `index`; returns the node that stands there now.
  private mutating func insert(_ base: IPAddress, _ length: UInt8, _ mark: Mark, at index: Int32) -> (Int32, Bool) {
    if index < 0 { return (add(Node(base: base, length: length, mark: mark)), true) }
    let node = nodes[Int(index)]
    let common = min(Self.commonLength(node.base, base), Int(node.length), Int(length))
    if common == Int(node.length) && common == Int(length) {
      if node.mark != .none && node.mark != mark { return (index, false) }
      nodes[Int(index)].mark = mark
      return (index, true)
    }
    if common == Int(node.length) {
      // The new network lies within this one.
      let isOne = Self.bit(base, common)
      let (child, isNew) = insert(base, length, mark, at: isOne ? node.one : node.zero)
      if isOne { nodes[Int(index)].one = child } else { nodes[Int(index)].zero = child }
      return (index, isNew)
    }
    if common == Int(length) {
      // This node lies within the new network.
      var parent = Node(base: base, length: length, mark: mark)
      if Self.bit(node.base, common) { parent.one = index } else { parent.zero = index }
      return (add(parent), true)
    }
    let leaf = add(Node(base: base, length: length, mark: mark))
    var fork = Node(base: IPNetwork(base: base, prefixLength: common).base, length: UInt8(common), mark: .none)
    fork.one = Self.bit(base, common) ? leaf : index
    fork.zero = Self.bit(base, common) ? index : leaf
    return (add(fork), true)
  }

  private mutating func add(_ node: Node) -> Int32 {
    nodes.append(node)
    return Int32(nodes.count - 1)
  }

  /// How many leading bits two addresses share.
  @inline(__always)
  private static func commonLength(_ left: IPAddress, _ right: IPAddress) -> Int {
    let high = left.high ^ right.high
    return high != 0 ? high.leadingZeroBitCount : 64 &+ (left.low ^ right.low).leadingZeroBitCount
  }

  @inline(__always)
  private static func bit(_ address: IPAddress, _ position: Int) -> Bool {
    position < 64
      ? address.high >> UInt64(63 &- position) & 1 == 1 : address.low >> UInt64(127 &- position) & 1 == 1
  }
}
