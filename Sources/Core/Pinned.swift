/// One value at an address of its own.
///
/// A class that keeps its state in one may change it without the check for exclusive access that its own properties cost
/// at every touch (about 75 instructions once the code is inlined into another room). In return, nothing that runs while
/// the value is being changed may touch the same one.
@safe
@frozen
public struct Pinned<Value>: ~Copyable {
  @usableFromInline let pointer: UnsafeMutablePointer<Value>

  /// Allocates memory for `value`.
  @inlinable
  public init(_ value: Value) {
    unsafe pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    unsafe pointer.initialize(to: value)
  }

  @inlinable
  deinit {
    unsafe pointer.deinitialize(count: 1)
    unsafe pointer.deallocate()
  }

  /// The value, changed in place.
  @inlinable
  public var value: Value {
    // Initialised for as long as `self` exists, and `self` alone has the pointer.
    @inline(__always)
    unsafeAddress { unsafe UnsafePointer(pointer) }
    @inline(__always)
    nonmutating unsafeMutableAddress { unsafe pointer }
  }
}
