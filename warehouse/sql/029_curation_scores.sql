create table curation_scores (
    run_id varchar not null,
    dataset_id varchar not null,
    source_id varchar not null,
    source_name varchar not null,
    segment_start_s double not null,
    segment_stop_s double not null,
    score varchar not null,
    value double not null,
    backend varchar,
    clip_id varchar,
    unique (run_id, dataset_id, source_id, source_name, segment_start_s, segment_stop_s, score)
);

comment on table curation_scores is
    'What was measured on a piece of a source, accepted or not. Grain: run, segment, score.';

comment on column curation_scores.run_id is 'The run that wrote the row.';
comment on column curation_scores.dataset_id is 'Data set and version; joins datasets.';
comment on column curation_scores.source_id is 'Content key of the source file.';
comment on column curation_scores.source_name is 'Path of the source in its corpus.';
comment on column curation_scores.segment_start_s is 'First instant of the segment in the source, seconds; joins curation_decisions.';
comment on column curation_scores.segment_stop_s is 'End of the segment in the source, seconds.';
comment on column curation_scores.score is 'Name of the score, as in the manifest: sync_confidence, quality, yaw_deg and so on.';
comment on column curation_scores.value is 'What was measured.';
comment on column curation_scores.backend is 'What measured it; null where no model did.';
comment on column curation_scores.clip_id is 'The clip, where the segment became one; joins clips.';
