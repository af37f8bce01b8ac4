create table benchmark_samples (
    run_id varchar not null,
    system varchar not null,
    device varchar not null,
    speed_kind varchar not null check (speed_kind in ('model', 'pipeline', 'end_to_end')),
    metric varchar not null,
    sample integer not null check (sample >= 0),
    value double not null,
    primary key (run_id, system, device, speed_kind, metric, sample)
);

comment on table benchmark_samples is
    'Single speed measurements. Grain: run, system, device, meaning of speed, metric, sample. [volatile]';

comment on column benchmark_samples.run_id is 'The run that wrote the row.';
comment on column benchmark_samples.system is 'System that was timed.';
comment on column benchmark_samples.device is 'Name of the processor or the accelerator, and the number of CPU threads.';
comment on column benchmark_samples.speed_kind is 'model: network calls only; pipeline: first encode to last decode; end_to_end: what a user waits for.';
comment on column benchmark_samples.metric is 'What was timed: chunk_denoise_s (all denoising calls of a chunk), call_s (one call) or teacher_clip_s (a whole clip); lower is better.';
comment on column benchmark_samples.sample is 'Index of the repetition.';
comment on column benchmark_samples.value is 'The measured value, in seconds where the metric ends in _s.';
