//! What an alarm and a heartbeat make of the same silence.

use super::Pulse;

#[test]
fn a_restore_is_no_silence_for_the_alarm_and_one_for_the_heartbeat() {
    let pulse = Pulse::new(1_000);
    assert_eq!(pulse.silent_ms(61_000), 60_000);
    assert!(!pulse.is_alive(1_000, 120_000), "nothing has come through yet");
    pulse.beat(61_000);
    assert!(pulse.is_alive(180_999, 120_000) && !pulse.is_alive(181_000, 120_000));
    for now_ms in (91_000..4_000_000).step_by(30_000) {
        pulse.excuse(now_ms);
        assert!(pulse.silent_ms(now_ms + 29_999) < 30_000);
    }
    assert_eq!(pulse.beaten_ms(), Some(61_000));
    assert!(!pulse.is_alive(4_000_000, 120_000), "nothing is judged meanwhile");
    pulse.beat(4_001_000);
    assert!(pulse.is_alive(4_001_000, 120_000));
    assert_eq!(pulse.silent_ms(4_121_000), 120_000);
}
