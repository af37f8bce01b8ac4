create table curation_decisions (
    run_id varchar not null,
    dataset_id varchar not null,
    source_id varchar not null,
    source_name varchar not null,
    segment_start_s double,
    segment_stop_s double,
    decision varchar not null check (decision in ('accepted', 'rejected', 'quarantined')),
    reason varchar,
    stage varchar not null,
    measured_value double,
    threshold double,
    backend varchar,
    seconds double,
    message varchar,
    clip_id varchar,
    duplicate_of varchar,
    unique (run_id, dataset_id, source_id, source_name, segment_start_s, segment_stop_s)
);

comment on table curation_decisions is
    'What curation decided. Grain: run and segment; one row without times for a source that never reached segments.';

comment on column curation_decisions.run_id is 'The run that wrote the row.';
comment on column curation_decisions.dataset_id is 'Data set and version; joins datasets.';
comment on column curation_decisions.source_id is 'Content key of the source file; of its name where it cannot be opened.';
comment on column curation_decisions.source_name is 'File name of the source; two files with the same bytes share a source_id and differ in this.';
comment on column curation_decisions.segment_start_s is 'First instant of the segment in the source, seconds; null for the whole source.';
comment on column curation_decisions.segment_stop_s is 'End of the segment in the source, seconds; null for the whole source.';
comment on column curation_decisions.decision is 'accepted, rejected or quarantined.';
comment on column curation_decisions.reason is 'Reason code: failed_this_time, inaccessible, unreadable, truncated, annotation_unusable, left_out_by_corpus, consent_denied, no_video, over_limits, duplicate, near_duplicate, held_out_person, no_audio, audio_missing, silent_audio, no_speech, outside_ranges, too_short, no_face, face_lost, face_too_small, several_faces, turned_away, turned_up_or_down, lips_cut_off, frozen_picture, repeated_frames, occluded, sync_confidence_low, av_offset_too_large, av_offset_unstable or quality_low; null for accepted.';
comment on column curation_decisions.stage is 'The stage that decided.';
comment on column curation_decisions.measured_value is 'What was measured; null where nothing could be.';
comment on column curation_decisions.threshold is 'The limit it was held against; null where there is none.';
comment on column curation_decisions.backend is 'What measured it.';
comment on column curation_decisions.seconds is 'Seconds of footage the row accounts for; null where the length is unknown.';
comment on column curation_decisions.message is 'For people; the decoder''s or the system''s own words for a file that cannot be read.';
comment on column curation_decisions.clip_id is 'The clip that an accepted segment became; joins clips. Null for all others, and in rows of schema 2 and before.';
comment on column curation_decisions.duplicate_of is 'What the piece repeats: the id of a clip, or the name of a file with the same bytes; null where it repeats nothing.';
