import Core

/// The buffer that a head looks at. The one before it is kept as well: heads go back and forth between the buffer that
/// all input arrives in and those of single exchanges, and coming back to a buffer that is still held takes no reference.
@safe
@usableFromInline
struct HeldBuffer {
  /// One of the two below, or one that somebody else keeps.
  @usableFromInline var current: Unmanaged<ByteBuffer>
  private var first: ByteBuffer
  private var second: ByteBuffer

  init() {
    first = ByteBuffer()
    second = first
    unsafe current = .passUnretained(first)
  }

  /// Looks at `buffer` from now on.
  @inline(__always)
  mutating func hold(_ buffer: ByteBuffer) {
    if unsafe !Self.isSame(current, buffer) { replace(with: buffer) }
  }

  private mutating func replace(with buffer: ByteBuffer) {
    // What is looked at now becomes the one before.
    if unsafe Self.isSame(current, first) {
      if second !== buffer { second = buffer }
    } else if first !== buffer {
      first = buffer
    }
    unsafe current = .passUnretained(buffer)
  }

  @inline(__always)
  private static func isSame(_ left: Unmanaged<ByteBuffer>, _ right: ByteBuffer) -> Bool {
    unsafe left.toOpaque() == Unmanaged.passUnretained(right).toOpaque()
  }

  /// The buffer's bytes: valid until it changes, and while it is held.
  @unsafe
  @inlinable
  @inline(__always)
  var bytes: UnsafeRawBufferPointer {
    get { unsafe current._withUnsafeGuaranteedRef { unsafe $0.bytes.withUnsafeBytes { unsafe $0 } } }
  }
}
