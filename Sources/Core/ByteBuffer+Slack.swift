extension ByteBuffer {
  /// The bytes that wait and the ``slack`` readable ones behind them, which may have any value: for what reads whole
  /// blocks. Valid until the buffer is next changed.
  @inlinable
  public var bytesAndSlack: RawSpan {
    @_lifetime(borrow self)
    @inline(__always)
    get {
      // `start` and `end` never leave the allocation, which is `slack` larger than what `end` may reach; `self` owns it.
      let span = unsafe RawSpan(_unsafeStart: base + start, byteCount: end &- start &+ Self.slack)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
}
