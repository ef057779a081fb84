/// A growable array with one owner. Nobody else can hold a copy of its storage, so that a write is a bounds check and a
/// store: an `Array` asks at every write whether it is shared.
///
/// Appending is amortised constant; storage never shrinks. Indexes count from 0; one that is out of bounds ends the process.
@safe
public struct OwnedArray<Element>: ~Copyable {
  @usableFromInline var base: UnsafeMutablePointer<Element>
  @usableFromInline var capacity: Int
  /// How many elements there are.
  public private(set) var count = 0

  /// An empty array; allocates nothing yet.
  public init() {
    unsafe base = .allocate(capacity: 0)
    capacity = 0
  }

  deinit {
    unsafe base.deinitialize(count: count)
    unsafe base.deallocate()
  }

  /// Whether there are no elements.
  @inlinable
  public var isEmpty: Bool { count == 0 }

  /// All indexes, in order.
  @inlinable
  public var indices: Range<Int> { 0..<count }

  /// The element at `index`, where it lies.
  @inlinable
  public subscript(index: Int) -> Element {
    // The first `count` elements are initialised, and nobody else can reach them.
    unsafeAddress {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
      return unsafe UnsafePointer(base + index)
    }
    unsafeMutableAddress {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
      return unsafe base + index
    }
  }

  /// Adds an element behind the last.
  @inline(__always)
  public mutating func append(_ element: Element) {
    if count == capacity { grow() }
    unsafe (base + count).initialize(to: element)
    count &+= 1
  }

  /// Takes the last element out; nil where there is none.
  @inline(__always)
  public mutating func popLast() -> Element? {
    if count == 0 { return nil }
    count &-= 1
    return unsafe (base + count).move()
  }

  /// Drops all elements and keeps the storage.
  public mutating func removeAll() {
    unsafe base.deinitialize(count: count)
    count = 0
  }

  @inline(never)
  private mutating func grow() {
    let larger = max(8, capacity * 2)
    let memory = UnsafeMutablePointer<Element>.allocate(capacity: larger)
    unsafe memory.moveInitialize(from: base, count: count)
    unsafe base.deallocate()
    unsafe base = memory
    capacity = larger
  }
}

extension OwnedArray {
  /// The same elements as in `elements`, in the same order.
  public init(copying elements: some Collection<Element>) {
    self.init()
    for element in elements { append(element) }
  }
}

// Its storage is nobody else's, as that of an array that is never copied.
extension OwnedArray: @unchecked Sendable where Element: Sendable {}

extension OwnedArray where Element == UInt8 {
  /// All elements.
  @inlinable
  public var bytes: RawSpan {
    @inline(__always)
    @_lifetime(borrow self)
    get {
      // The first `count` elements are initialised, and live as long as `self`.
      let span = unsafe RawSpan(_unsafeStart: base, byteCount: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
}
