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
      markKey: secrets.factKey, clock: factClock, bootTime: Clock.bootTime, desk: quota as? any RevocationDesk)
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
