import Cluster
import Core
import Net
import Pipeline
import Synchronization

extension Node {
  /// Lets the agent's facts reach the loops, and what takes long run on a thread of its own.
  func introduceFacts(_ agent: ClusterAgent, _ blueprint: Blueprint) {
    agent.factKeeper.onView = { [self] view, number in
      let outstanding = Countdown(loopCount)
      tell {
        .facts(view) { [self] in
          if outstanding.isLast() { agree { $0?.factKeeper.taken(number) } }
        }
      }
    }
    agent.factKeeper.onWork = { [self] number, work in
      let helper = Helper()
      helper.run { [self] in
        let result = work()
        // What was needed on the way may have been several times as much as what is left.
        ProcessLimits.releaseFreeMemory()
        agree { agent in
          agent?.factKeeper.done(number, result)
          helper.join()
        }
      }
    }
    agent.factKeeper.restore(from: StateFolder.path(of: blueprint.own, nodeName: name) + "/" + StateFolder.facts)
  }

  /// What a loop goes by; nil where the node is in no cluster that agrees on facts.
  func makeFacts(_ blueprint: Blueprint, _ quota: any Quota) -> LoopFacts? {
    guard case .redis = blueprint.store, !blueprint.isRouter, let secrets = blueprint.cluster.secrets else {
      return nil
    }
    return LoopFacts(
      markKey: secrets.factKey, clock: factClock, bootTime: Clock.bootTime, desk: quota as? any RevocationDesk
    ) { [self] order in
      agree { [self] agent in
        if order.isAlarm { sources.report("alarm: \(order.origin): \(order.reason)") }
        revoke(order, agent)
      }
      return true
    }
  }

  /// Carries out what a policy wants revoked; what the store cannot take now is kept for it.
  func revoke(_ order: RevocationOrder, _ agent: ClusterAgent?) {
    guard let keeper = agent?.factKeeper else { return }
    let now = UInt32(clamping: Clock.civil().seconds)
    let mark = RevocationMark(order.kind, order.name, key: keeper.markKey)
    let revocation = Revocation(
      order.kind, mark, expires: order.expires, issuedBefore: order.kind == .subject ? now : 0)
    // A name that is longer than a record holds is revoked all the same, and listed without it.
    let name = order.name.utf8.count <= RevocationRecord.textBytes ? order.name : ""
    let record = RevocationRecord(
      revocation, kind: order.kind, name: name, reason: order.reason, by: order.origin, revokedAt: now)
    keeper.add([.revocation(record)]) { [self] answer in
      guard case .unavailable = answer else { return }
      guard shared.keep(order) else {
        return sources.report("\(order.origin): a \(order.kind.name) was not revoked: too many wait for the store")
      }
    }
  }
}

/// Counts loops that have still to say something.
private final class Countdown: Sendable {
  private let left: Atomic<Int>

  init(_ count: Int) { left = Atomic(count) }

  func isLast() -> Bool { left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
}

/// A thread for one piece of work, joined by whoever takes the result.
private final class Helper: Sendable {
  private let thread = Mutex<OSThread?>(nil)

  func run(_ body: @escaping @Sendable () -> Void) {
    // Whoever joins waits for the lock, so that the thread is known by then.
    thread.withLock { $0 = OSThread.spawn(name: "facts", body) }
  }

  func join() { thread.withLock { $0 }?.join() }
}
