import Synchronization

/// Names that received a number once and keep it for the life of the process, at most ``capacity`` of them.
///
/// Metrics outlive the configuration that names a route: a counter that began again at every reload would be useless.
/// What comes after the last free number shares number 0, so a node that is reloaded for years stays bounded. Each
/// slot is written once and never changes, hence neither a lock nor a copy is needed to read.
final class MetricLabels: Sendable {
  /// How many names are kept apart; 4,096 routes of one node, each with its own series, is what Prometheus bears well.
  static let capacity = 4096

  private final class Name: Sendable {
    let text: String
    init(_ text: String) { self.text = text }
  }

  private let slots: InlineArray<4096, AtomicLazyReference<Name>>
  private let used: Atomic<Int>

  /// A table in which `reserved` hold the first numbers; the first of them is also for everything beyond the capacity.
  init(reserved: [String]) {
    precondition(!reserved.isEmpty && reserved.count < Self.capacity)
    slots = InlineArray { _ in AtomicLazyReference() }
    used = Atomic(0)
    _ = numbers(of: reserved)
  }

  /// How many names have a number.
  var count: Int { min(used.load(ordering: .acquiring), Self.capacity) }

  /// The name with a number.
  func name(_ number: Int) -> String { slots[number].load()?.text ?? "" }

  /// The numbers of `names`, given out where they have none. Linear in all names; one call at a time.
  func numbers(of names: [String]) -> ContiguousArray<Int32> {
    var known: [String: Int32] = [:]
    for number in 0..<count { known[name(number)] = Int32(number) }
    return ContiguousArray(
      names.map { name in
        if let number = known[name] { return number }
        let next = count
        guard next < Self.capacity else { return 0 }
        _ = slots[next].storeIfNil(Name(name))
        used.store(next + 1, ordering: .releasing)
        known[name] = Int32(next)
        return Int32(next)
      })
  }
}
