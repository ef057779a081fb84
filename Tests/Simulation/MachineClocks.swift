import Core

/// How a machine's clocks differ from the world's.
public struct MachineClocks: Sendable {
  /// By how many millionths they run faster; at most 500 either way, as is assumed of real ones.
  public var driftPartsPerMillion: Int64 = 0
  /// By how many microseconds civil time is ahead.
  public var wallOffsetMicroseconds: Int64 = 0
  /// How long the machine has slept: the monotonic clock does not count that.
  var sleptNanoseconds: Int64 = 0

  /// Clocks that are right.
  public init() {}

  func boot(_ time: Instant) -> Instant {
    guard driftPartsPerMillion != 0 else { return time }
    return Instant(nanoseconds: time.nanoseconds + time.nanoseconds / 1_000_000 * driftPartsPerMillion)
  }

  func monotonic(_ time: Instant) -> Instant { boot(time).advanced(byNanoseconds: -sleptNanoseconds) }

  /// When the monotonic clock shows `moment`, or a little later.
  func worldTime(of moment: Instant) -> Instant {
    let boot = moment.advanced(byNanoseconds: sleptNanoseconds)
    guard driftPartsPerMillion != 0, boot != .never else { return boot }
    let parts = 1_000_000 + driftPartsPerMillion
    return Instant(nanoseconds: boot.nanoseconds / parts * 1_000_000 + boot.nanoseconds % parts + 1_000)
  }
}
