// Connections come and go, and with them replication ids. A lane decides only under the id that it was opened under: a
// promoted replica may have lost what its primary had acknowledged, so before anything is decided there, every loop raises
// the counters to what it has seen. Values only grow within a period, so the largest that anybody has seen is right.

import Core
import Pipeline

extension SharedQuota {
  /// How long a call that opens a lane may take, and the pause before it is tried again, in nanoseconds.
  private static var openTime: Int64 { 100_000_000 }
  static var openPause: Int64 { 20_000_000 }

  func primaryIndex(_ number: Int) -> Int {
    if let known = primaries.firstIndex(where: { $0.number == number }) { return known }
    primaries.append(Primary(number: number))
    return primaries.count - 1
  }

  /// The primary that a lane lies on; the first one where that is not known.
  @inline(__always)
  func primaryOf(_ lane: Int) -> Int {
    if case .cluster = settings.store { return primaryIndex(client.primary(of: lanes[lane].slot) ?? 0) }
    return primaries.isEmpty ? primaryIndex(0) : 0
  }

  func primaryCameUp(_ identity: RedisIdentity) {
    let index = primaryIndex(client.source)
    let id = Self.replicationID(identity.replicationID)
    let isSame = primaries[index].caller?.replicationID == id
    primaries[index].caller = LaneCaller(
      replicationID: id, node: participant, dialect: identity.dialect == .functions ? .function : .script,
      library: settings.laneLibrary)
    primaries[index].breaker.connected()
    primaries[index].isIdentifying = false
    if beats != nil { beatAt = min(beatAt, clock()) }
    checkStore(index)
    resolveDoubts(ofPrimary: index, isSameServer: isSame)
    settleDebts()
    claimSlotsAlone()
    for lane in lanes.indices where primaryOf(lane) == index && !(isSame && lanes[lane].state == .open) {
      openLane(lane)
    }
  }

  /// A server that does not tell its replication id has none: then a failover behind its back goes unnoticed.
  private static func replicationID(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    return bytes.count == LaneCaller.replicationIDBytes
      ? bytes : [UInt8](repeating: UInt8(ascii: "0"), count: LaneCaller.replicationIDBytes)
  }

  func primaryWentDown() {
    let index = primaryIndex(client.source)
    primaries[index].breaker.disconnected(clock(), random: world.random())
    primaries[index].isIdentifying = false
    failQueued(ofPrimary: index)
  }

  /// A slot by which the primary is reached in a Redis Cluster.
  func slot(ofPrimary index: Int) -> Int {
    lanes.indices.first { primaryOf($0) == index }.map { lanes[$0].slot } ?? 0
  }

  // MARK: The breaker

  func noteMiss(_ primary: Int, _ moment: Int64) {
    if primaries[primary].breaker.missed(moment, random: world.random()) { failQueued(ofPrimary: primary) }
  }

  /// Asks stores that did not answer whether they do now.
  func probe(_ moment: Int64) {
    for index in primaries.indices where primaries[index].breaker.takeProbe(moment) {
      let admission = client.send(slot: slot(ofPrimary: index), tag: Self.tag(.probe, index), within: settings.deadline)
      {
        $0.append("*1\r\n$4\r\nPING\r\n")
      }
      if admission != .accepted { probeAnswered(index, isGood: false) }
    }
  }

  func probeAnswered(_ index: Int, isGood: Bool) {
    let wasOpen = primaries[index].breaker.state == .open
    primaries[index].breaker.probed(isGood: isGood, clock(), random: world.random())
    guard wasOpen, primaries[index].breaker.state == .closed else { return }
    settleDebts()
    claimSlotsAlone()
  }

  // MARK: Replication ids

  /// Reads a primary's replication id again: an outdated one would only make others open the lanes once more.
  func identify(_ index: Int) {
    guard !primaries[index].isIdentifying else { return }
    let admission = client.send(slot: slot(ofPrimary: index), tag: Self.tag(.identity, index), within: Self.openTime) {
      RedisCommand.append(["INFO", "replication"], to: $0)
    }
    primaries[index].isIdentifying = admission == .accepted
  }

  func identityAnswered(_ index: Int, _ reply: borrowing RedisReply) {
    primaries[index].isIdentifying = false
    let prefix = "master_replid:"
    guard let caller = primaries[index].caller,
      let line = reply.value.text.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix(prefix) })
    else { return }
    let id = Self.replicationID(String(line.dropFirst(prefix.count)))
    primaries[index].caller = LaneCaller(
      replicationID: id, node: participant, dialect: caller.dialect, library: settings.laneLibrary)
    for lane in lanes.indices where primaryOf(lane) == index && lanes[lane].state == .closed { openLane(lane) }
  }

  // MARK: Lanes

  /// Opens a lane under the present replication id; the first who asks does, the others hear that it is done.
  private func openLane(_ lane: Int) {
    guard let caller = primaries[primaryOf(lane)].caller else { return }
    lanes[lane].state = .recovering
    let recovery = LaneRecovery(
      members: node.participants, latest: WallTime(microseconds: lanes[lane].latest))
    let admission = client.send(slot: lanes[lane].slot, tag: Self.tag(.recover, lane), within: Self.openTime) {
      recovery.encode(for: caller, map, lane: lane, into: $0)
    }
    if admission != .accepted { laneFailed(lane) }
  }

  func laneOpened(_ lane: Int, _ reply: borrowing RedisReply) {
    guard lanes[lane].state == .recovering else { return }
    switch LaneRecordReply(reply.value.bytes) {
    case .done(let record):
      lanes[lane].isReopened = lanes[lane].latest > 0
      lanes[lane].latest = max(lanes[lane].latest, record.now.microseconds)
      claimSlots(lane)
      lanes[lane].merging = lanes[lane].marks.all
      lanes[lane].merged = 0
      lanes[lane].isGated = record.gate > record.now
      merge(lane)
    case .recover:
      lanes[lane].state = .closed
      identify(primaryOf(lane))
    case .regenerate, .malformed: laneFailed(lane)
    }
  }

  /// Sends the next part of what was seen of a lane; the last one says that it is the last.
  private func merge(_ lane: Int) {
    let primary = primaryOf(lane)
    guard let caller = primaries[primary].caller else { return laneFailed(lane) }
    var merge = LaneMerge(map: map, lane: lane)
    var next = lanes[lane].merged
    while next < lanes[lane].merging.count, merge.append(lanes[lane].merging[next]) { next += 1 }
    let isLast = next == lanes[lane].merging.count
    let latest = WallTime(microseconds: lanes[lane].latest)
    let admission = client.send(slot: lanes[lane].slot, tag: Self.tag(.merge, lane), within: Self.openTime) {
      // The lane's own time is the clock: it was told a moment ago.
      merge.encode(for: caller, isLast: isLast, clock: latest, latest: latest, into: $0)
    }
    guard admission == .accepted else { return laneFailed(lane) }
    lanes[lane].merged = next
  }

  func laneMerged(_ lane: Int, _ reply: borrowing RedisReply) {
    guard lanes[lane].state == .recovering else { return }
    switch LaneRecordReply(reply.value.bytes) {
    case .done(let record):
      lanes[lane].latest = max(lanes[lane].latest, record.now.microseconds)
      guard lanes[lane].merged == lanes[lane].merging.count else { return merge(lane) }
      lanes[lane].merging = []
      lanes[lane].merged = 0
      guard record.gate <= record.now else { return gatesAt = min(gatesAt, clock() + Self.gatePoll) }
      lanes[lane].state = .open
      if lanes[lane].isGated && lanes[lane].isReopened { sendDebtsFirst(lane) }
      lanes[lane].isGated = false
    case .recover:
      lanes[lane].state = .closed
      identify(primaryOf(lane))
    case .regenerate(let now):
      // Another period has begun meanwhile. Merging twice does no harm.
      lanes[lane].latest = max(lanes[lane].latest, now.microseconds)
      lanes[lane].merged = 0
      merge(lane)
    case .malformed: laneFailed(lane)
    }
  }

  /// Asks lanes whose gate was closed whether it is open, by merging nothing, and opens those that have settled.
  func lookAtGates(_ moment: Int64) {
    gatesAt = .max
    for lane in lanes.indices {
      if lanes[lane].isGated && lanes[lane].state == .recovering { merge(lane) }
      guard lanes[lane].state == .settling else { continue }
      if lanes[lane].pausedUntil <= moment {
        lanes[lane].state = .open
      } else {
        gatesAt = min(gatesAt, lanes[lane].pausedUntil)
      }
    }
  }

  /// A call that opens a lane was not answered: again in a moment, if there is a connection.
  func laneFailed(_ lane: Int) {
    lanes[lane].state = .closed
    lanes[lane].merging = []
    reopenAt = min(reopenAt, clock() + Self.openPause)
  }

  /// Tries again to open lanes that could not be.
  func reopenLanes(_ moment: Int64) {
    reopenAt = .max
    for lane in lanes.indices where lanes[lane].state == .closed {
      let primary = primaryOf(lane)
      if client.isUp(primaries[primary].number) { identify(primary) }
    }
  }
}
