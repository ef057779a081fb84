/// One value in memory of its own. A class that keeps its state in slots may change it without the check for exclusive
/// access that its own properties would cost at every store; in return, nothing that runs while a slot's value is being
/// changed may touch the same slot.
@safe
struct Slot<Value>: ~Copyable {
  private let pointer: UnsafeMutablePointer<Value>

  init(_ value: Value) {
    unsafe pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    unsafe pointer.initialize(to: value)
  }

  deinit {
    unsafe pointer.deinitialize(count: 1)
    unsafe pointer.deallocate()
  }

  var value: Value {
    // Initialised for as long as the slot exists, and the slot alone has the pointer.
    @inline(__always)
    unsafeAddress { unsafe UnsafePointer(pointer) }
    @inline(__always)
    nonmutating unsafeMutableAddress { unsafe pointer }
  }
}
