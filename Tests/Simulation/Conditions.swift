/// How the simulated machine and its network behave.
public struct Conditions: Sendable {
  /// How long a segment takes one way; every segment draws its own, and none overtakes another of its stream.
  public var latency: ClosedRange<Duration> = .microseconds(20) ... .microseconds(300)
  /// Into pieces of which size a stream is cut on its way. One in four pieces has at most four bytes, if that is allowed.
  public var segmentBytes: ClosedRange<Int> = 1...1460
  /// What is sent and not yet received is at most so much for a direction: the buffers of both kernels.
  public var capacityBytes = 64 << 10
  /// How often a send takes less than it could.
  public var shortWriteChance = 0.125
  /// How often a turn brings an event for which there is no reason.
  public var spuriousEventChance = 0.05
  /// How often a connection that nobody accepts fails in `connect` itself and not by an event.
  public var immediateRefusalChance = 0.5
  /// How often a segment meets a reset of its connection instead of its receiver.
  public var resetChance = 0.0
  /// How long a ready loop waits for its processor.
  public var turnDelay: ClosedRange<Duration> = .zero ... .microseconds(50)
  /// After how long the kernel gives up on a connection attempt that nobody answers.
  public var connectTimeout = Duration.seconds(127)

  /// A network that cuts streams anywhere and takes less than it is offered: what tests should run on.
  public static let rough = Conditions()

  /// A network that keeps sends together and never surprises: for finding out what a failure is about.
  public static var calm: Conditions {
    var conditions = Conditions()
    conditions.latency = .microseconds(50) ... .microseconds(50)
    conditions.segmentBytes = 65_536...65_536
    conditions.capacityBytes = 1 << 20
    conditions.shortWriteChance = 0
    conditions.spuriousEventChance = 0
    conditions.immediateRefusalChance = 0
    conditions.turnDelay = .zero ... .zero
    return conditions
  }

  /// Streams cut into single bytes, small buffers, many short writes.
  public static var harsh: Conditions {
    var conditions = Conditions()
    conditions.segmentBytes = 1...7
    conditions.capacityBytes = 2048
    conditions.shortWriteChance = 0.5
    conditions.spuriousEventChance = 0.25
    return conditions
  }
}
