/// A reference that somebody else keeps alive, for slots that are read many times a request: using it costs no reference
/// counting, which is atomic and would be a tenth of the gateway's own work.
///
/// Whoever stores one says, beside it, who keeps the object.
@safe
public struct Borrowed<Object: AnyObject> {
  @usableFromInline let reference: Unmanaged<Object>

  /// Lends out `object`, which the caller's owner keeps.
  @inlinable
  @inline(__always)
  public init(_ object: Object) { unsafe reference = .passUnretained(object) }

  /// Lends the object for the length of a call.
  @inlinable
  @inline(__always)
  public func with<Result>(_ body: (Object) -> Result) -> Result {
    // The owner keeps the object at least as long as this value is stored.
    unsafe reference._withUnsafeGuaranteedRef(body)
  }

  /// Something that the object keeps as long as it lives, lent in the same way. Calling a method of it, or passing it on,
  /// would cost a reference if it were reached through the object.
  @inlinable
  @inline(__always)
  public func part<Part: AnyObject>(_ body: (Object) -> Part) -> Borrowed<Part> { with { Borrowed<Part>(body($0)) } }
}
