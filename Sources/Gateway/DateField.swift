import Core

/// The value of a Date field (RFC 9110 section 5.6.7), made once a second.
struct DateField: ~Copyable {
  /// `Sun, 06 Nov 1994 08:49:37 GMT`
  let text = ByteBuffer(capacity: 32)
  private var second = Int64.min

  init() {}

  /// Makes ``text`` say `time`.
  mutating func update(_ time: WallTime) {
    let now = time.seconds
    guard now != second else { return }
    second = now
    text.removeAll()
    text.append(utf8: CivilDate(time).fieldValue)
  }
}
